"""Models: the backbones always, the rest as far as its host is installed."""

from ..registry import alias_in_root, host_error, register_missing
from .backbones import AFFormer, LSGAViT, SGFormer, SwinTransformer, T2TViT
from .localizers import ActivationLocalizer, AttentionLocalizer
from .necks import MGFF, ToPyramid

if (reason := host_error('mmseg')) is None:
    from .seg_heads import AFFormerHead
else:
    AFFormerHead = register_missing('AFFormerHead', reason)

if (reason := host_error('mmpretrain')) is None:
    from .classifiers import TwoStageClassifier
    from .cls_heads import MGFFHead
else:
    MGFFHead = register_missing('MGFFHead', reason)
    TwoStageClassifier = register_missing('TwoStageClassifier', reason)

alias_in_root('AFFormer', 'LSGAViT', 'MGFF', 'SGFormer', 'T2TViT')

__all__ = [
    'AFFormer',
    'AFFormerHead',
    'ActivationLocalizer',
    'AttentionLocalizer',
    'LSGAViT',
    'MGFF',
    'MGFFHead',
    'SGFormer',
    'SwinTransformer',
    'T2TViT',
    'ToPyramid',
    'TwoStageClassifier',
]
