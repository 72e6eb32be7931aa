"""Joining neighbouring tokens: the step from one stage to the next."""

import torch
from einops import rearrange
from torch import nn

from .sizes import ceil_div, pad


class PatchMerging(nn.Module):
    """Merge 2 x 2 tokens: ``(N, H, W, C) -> (N, ceil(H / 2), ceil(W / 2), 2 C)``.

    Joined channels come in the official order of places: (row, column) = (0, 0), (1, 0), (0, 1),
    (1, 1).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Merge; odd sizes are filled up with zeros."""
        rows, columns = (ceil_div(side, 2) for side in x.shape[1:3])
        x = pad(x, (2 * rows, 2 * columns))
        x = rearrange(x, 'n (h i) (w j) c -> n h w (j i c)', i=2, j=2)
        return self.reduction(self.norm(x))
