"""Stochastic depth."""

import torch
from torch import nn


class DropPath(nn.Module):
    """Drop a residual branch for whole samples, in training only: ``(N, ...) -> (N, ...)``.

    What is kept is scaled by ``1 / (1 - drop_prob)``. Source: Huang et al., "Deep Networks with
    Stochastic Depth", ECCV 2016.
    """

    def __init__(self, drop_prob: float = 0.0):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to a branch before it is added."""
        if self.drop_prob == 0.0 or not self.training:
            return x
        keep = 1.0 - self.drop_prob
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        """Show the rate when printed."""
        return f'drop_prob={self.drop_prob}'


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Rates of ``depth`` blocks, growing linearly from 0 to ``rate``."""
    return [rate * i / max(depth - 1, 1) for i in range(depth)]
