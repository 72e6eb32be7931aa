"""Necks: torch and mmengine only, usable with no host installed."""

from .graph import GraphConv, GraphFusion
from .mgff import MGFF
from .pyramid import Rescale, ToPyramid
from .unify import SpatialAttention, Unify

__all__ = [
    'MGFF',
    'GraphConv',
    'GraphFusion',
    'Rescale',
    'SpatialAttention',
    'ToPyramid',
    'Unify',
]
