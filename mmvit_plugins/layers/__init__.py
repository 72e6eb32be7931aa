"""Layers that more than one backbone uses; they need torch only."""

from .attention import attention
from .block import Block
from .conv import ConvNormAct
from .drop import DropPath, drop_path_rates
from .kept import Kept
from .merging import PatchMerging
from .mlp import ConvMlp, Mlp, ResidualDepthwise, depthwise, inference_on_cpu
from .positions import relative_position_bias
from .sizes import captured, ceil_div, compact, crop, known, pad, pad_to_multiple, resize_table
from .squeeze import SqueezeExcite
from .weights import init_linears, init_weights
from .windows import cut_windows, join_windows

__all__ = [
    'Block',
    'ConvMlp',
    'ConvNormAct',
    'DropPath',
    'Kept',
    'Mlp',
    'PatchMerging',
    'ResidualDepthwise',
    'SqueezeExcite',
    'attention',
    'captured',
    'ceil_div',
    'compact',
    'crop',
    'cut_windows',
    'depthwise',
    'drop_path_rates',
    'inference_on_cpu',
    'init_linears',
    'init_weights',
    'join_windows',
    'known',
    'pad',
    'pad_to_multiple',
    'relative_position_bias',
    'resize_table',
]
