"""Backbones: torch and mmengine only, usable with no host installed."""

from .afformer import AFFormer
from .base import Backbone
from .sgformer import SGFormer
from .swin import SwinTransformer

__all__ = ['AFFormer', 'Backbone', 'SGFormer', 'SwinTransformer']
