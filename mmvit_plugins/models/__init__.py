"""Models: backbones, necks and localisers; what inherits from a host's class comes on demand."""

from ..registry import HOST_MODELS, MODELS, alias_in_root
from .backbones import AFFormer, LSGAViT, SGFormer, SwinTransformer, T2TViT
from .localizers import ActivationLocalizer, AttentionLocalizer
from .necks import MGFF, ToPyramid

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


def __getattr__(name: str) -> type | None:
    if name in HOST_MODELS:
        return MODELS.get(name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
