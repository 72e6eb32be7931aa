"""Vision-transformer backbones, heads and tools for mmsegmentation, mmpretrain and mmdetection.

Importing the package makes its registry nodes, which import its parts when something of theirs is
asked for, and sees to mmcv's operators (``docs/operators.md``). No host is imported.
"""

from importlib import import_module
from types import ModuleType

from . import registry
from .ops import provide
from .version import __version__

PARTS = ('analysis', 'apis', 'checkpoint', 'datasets', 'engine', 'evaluation', 'models')

__all__ = ['__version__', 'registry', *PARTS]

provide()


def __getattr__(name: str) -> ModuleType:
    if name in PARTS:
        return import_module(f'{__name__}.{name}')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
