"""Necks: torch and mmengine only, usable with no host installed."""

from .graph import GraphConv, GraphFusion
from .mgff import MGFF, SpatialAttention, Unify
from .pyramid import Rescale, ToPyramid

__all__ = [
    'MGFF',
    'GraphConv',
    'GraphFusion',
    'Rescale',
    'SpatialAttention',
    'ToPyramid',
    'Unify',
]
