"""Vision-transformer backbones, heads and tools for mmsegmentation, mmpretrain and mmdetection.

Importing the package registers everything that the installed hosts allow.
"""

from .ops import provide

provide()  # before hosts are imported, which ask for mmcv's operators

from . import datasets, engine, evaluation, models  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
