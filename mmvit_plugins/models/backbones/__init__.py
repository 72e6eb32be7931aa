"""Backbones: torch and mmengine only, usable with no host installed."""

from .afformer import AFFormer
from .base import Backbone
from .lsga_vit import LSGAViT
from .sgformer import SGFormer
from .swin import SwinTransformer
from .t2t_vit import T2TViT

__all__ = ['AFFormer', 'Backbone', 'LSGAViT', 'SGFormer', 'SwinTransformer', 'T2TViT']
