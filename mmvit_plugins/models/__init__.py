"""Models: the backbones always, the rest as far as its host is installed."""

from ..registry import MODELS, alias_in_root, is_available, missing_host
from .backbones import AFFormer, LSGAViT, SGFormer, SwinTransformer, T2TViT

if is_available('mmseg'):
    from .seg_heads import AFFormerHead
else:
    AFFormerHead = missing_host('AFFormerHead', 'mmseg')
    MODELS.register_module(name='AFFormerHead', module=AFFormerHead)

alias_in_root('AFFormer', 'LSGAViT', 'SGFormer', 'T2TViT')

__all__ = ['AFFormer', 'AFFormerHead', 'LSGAViT', 'SGFormer', 'SwinTransformer', 'T2TViT']
