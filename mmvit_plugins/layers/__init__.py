"""Layers that more than one backbone uses; they need torch only."""

from .conv import ConvNormAct
from .drop import DropPath, drop_path_rates

__all__ = ['ConvNormAct', 'DropPath', 'drop_path_rates']
