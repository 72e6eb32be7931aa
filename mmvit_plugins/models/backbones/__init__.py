"""Backbones: torch and mmengine only, usable with no host installed."""

from .afformer import AFFormer
from .base import Backbone
from .sgformer import SGFormer

__all__ = ['AFFormer', 'Backbone', 'SGFormer']
