"""Models: the backbones always, the rest as far as its host is installed."""

from ..registry import MODELS, alias_in_root, is_available, missing_host
from .backbones import AFFormer, LSGAViT, SGFormer, SwinTransformer, T2TViT
from .localizers import ActivationLocalizer, AttentionLocalizer
from .necks import MGFF

if is_available('mmseg'):
    from .seg_heads import AFFormerHead
else:
    AFFormerHead = missing_host('AFFormerHead', 'mmseg')
    MODELS.register_module(name='AFFormerHead', module=AFFormerHead)

if is_available('mmpretrain'):
    from .classifiers import TwoStageClassifier
    from .cls_heads import MGFFHead
else:
    MGFFHead = missing_host('MGFFHead', 'mmpretrain')
    TwoStageClassifier = missing_host('TwoStageClassifier', 'mmpretrain')
    for stand_in in (MGFFHead, TwoStageClassifier):
        MODELS.register_module(name=stand_in.__name__, module=stand_in)

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
    'TwoStageClassifier',
]
