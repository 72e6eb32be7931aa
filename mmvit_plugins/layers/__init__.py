"""Layers that more than one backbone uses; they need torch only."""

from .conv import ConvNormAct
from .drop import DropPath, drop_path_rates
from .mlp import ConvMlp, ResidualDepthwise, depthwise
from .weights import init_weights

__all__ = [
    'ConvMlp',
    'ConvNormAct',
    'DropPath',
    'ResidualDepthwise',
    'depthwise',
    'drop_path_rates',
    'init_weights',
]
