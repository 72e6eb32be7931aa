"""Models: the backbones always, the rest as far as its host is installed."""

from ..registry import MODELS, alias_in_root, is_available, missing_host
from .backbones import AFFormer, SGFormer, SwinTransformer, T2TViT

if is_available('mmseg'):
    from .seg_heads import AFFormerHead
else:
    AFFormerHead = missing_host('AFFormerHead', 'mmseg')
    MODELS.register_module(name='AFFormerHead', module=AFFormerHead)

alias_in_root('AFFormer', 'SGFormer', 'T2TViT')

__all__ = ['AFFormer', 'AFFormerHead', 'SGFormer', 'SwinTransformer', 'T2TViT']
