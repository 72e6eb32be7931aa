"""Vision-transformer backbones, heads and tools for mmsegmentation, mmpretrain and mmdetection.

Importing the package registers what it has and sees to mmcv's operators (``docs/operators.md``). No
host is imported: what inherits from a host's class is when it is asked for.
"""

from . import datasets, engine, evaluation, models
from .ops import provide
from .version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']

provide()
