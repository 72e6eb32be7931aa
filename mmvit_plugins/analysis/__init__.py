"""Measuring models: parameters, FLOPs, time and memory, without data or weights."""

from .benchmark import compare
from .build import build_model, input_shape, load_model_config
from .flops import count_config, count_flops

__all__ = [
    'build_model',
    'compare',
    'count_config',
    'count_flops',
    'input_shape',
    'load_model_config',
]
