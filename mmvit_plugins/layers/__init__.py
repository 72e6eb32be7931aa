"""Layers that more than one backbone uses; they need torch and einops only."""

from .attention import attention
from .block import Block
from .cache import Cache
from .conv import ConvNormAct
from .drop import DropPath, drop_path_rates
from .merging import PatchMerging
from .mlp import ConvMlp, Mlp, ResidualDepthwise, depthwise, inference_on_cpu
from .positions import relative_position_bias
from .sizes import (
    ceil_div,
    contiguous,
    crop,
    is_capturing,
    pad,
    pad_to_multiple,
    resize_table,
    statically_known,
)
from .squeeze import SqueezeExcite
from .weights import init_linears, init_weights
from .windows import window_partition, window_reverse

__all__ = [
    'Block',
    'ConvMlp',
    'ConvNormAct',
    'DropPath',
    'Cache',
    'Mlp',
    'PatchMerging',
    'ResidualDepthwise',
    'SqueezeExcite',
    'attention',
    'is_capturing',
    'ceil_div',
    'contiguous',
    'crop',
    'window_partition',
    'depthwise',
    'drop_path_rates',
    'inference_on_cpu',
    'init_linears',
    'init_weights',
    'window_reverse',
    'statically_known',
    'pad',
    'pad_to_multiple',
    'relative_position_bias',
    'resize_table',
]
