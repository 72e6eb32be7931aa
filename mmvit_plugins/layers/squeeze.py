"""Squeeze and excitation: channels weighed by what the whole input has of them."""

import torch
import torch.nn.functional as F
from torch import nn


class SqueezeExcite(nn.Module):
    """Weigh channels by what all tokens together have of them: ``(N, L, C)``, same shape.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.

    Args:
        channels: C.
        ratio: C over the width between the two linear layers.
        bias: Whether these have biases.
    """

    def __init__(self, channels: int, ratio: int = 16, bias: bool = True):
        super().__init__()
        hidden = max(channels // ratio, 1)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weigh."""
        weights = self.fc2(F.relu(self.fc1(x.mean(dim=1, keepdim=True))))
        return x * torch.sigmoid(weights)
