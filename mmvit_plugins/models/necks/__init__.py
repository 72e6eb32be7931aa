"""Necks: torch and mmengine only, usable with no host installed."""

from .graph import GraphConv, GraphFusion
from .mgff import MGFF, SpatialAttention, Unify

__all__ = ['MGFF', 'GraphConv', 'GraphFusion', 'SpatialAttention', 'Unify']
