"""What runs the training: hooks, safe checkpoint storage, and the set-up of runs."""

from .cpu import CPUAmpOptimWrapper, CPUDistributedDataParallel
from .hooks import CheckpointHook, DataCheckHook
from .hyperspectral import HyperspectralHook
from .optim import LayerDecayOptimWrapperConstructor
from .storage import AtomicBackend, find_checkpoint

__all__ = [
    'AtomicBackend',
    'CPUAmpOptimWrapper',
    'CPUDistributedDataParallel',
    'CheckpointHook',
    'DataCheckHook',
    'HyperspectralHook',
    'LayerDecayOptimWrapperConstructor',
    'find_checkpoint',
]
