"""What runs the training: hooks, safe checkpoint storage, and the set-up of runs."""

from .cpu import CPUAmpOptimWrapper, CPUDistributedDataParallel
from .hooks import CheckpointHook, DataCheckHook
from .hyperspectral import HyperspectralHook
from .optim import LayerDecayOptimWrapperConstructor
from .storage import AtomicBackend, find_checkpoint
from .training import ExactResumeHook, InvalidLossHook

__all__ = [
    'AtomicBackend',
    'CPUAmpOptimWrapper',
    'CPUDistributedDataParallel',
    'CheckpointHook',
    'DataCheckHook',
    'ExactResumeHook',
    'HyperspectralHook',
    'InvalidLossHook',
    'LayerDecayOptimWrapperConstructor',
    'find_checkpoint',
]
