"""The transformer block."""

import torch
from torch import nn

from .drop import DropPath


class Block(nn.Module):
    """Attention and an MLP, each after a norm and added: ``(..., C)``, same shape.

    Args:
        channels: C.
        attn: Mixes tokens; gets whatever else the block is called with.
        mlp: Mixes channels.
        drop_path: Rate of stochastic depth.
    """

    def __init__(self, channels: int, attn: nn.Module, mlp: nn.Module, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = attn
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor, *context: object) -> torch.Tensor:
        """Run the block."""
        x = x + self.drop_path(self.attn(self.norm1(x), *context))
        return x + self.drop_path(self.mlp(self.norm2(x)))
