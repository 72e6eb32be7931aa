"""Vision-transformer backbones, heads and tools for mmsegmentation, mmpretrain and mmdetection.

Importing the package registers everything that the installed hosts allow.
"""

from . import datasets, engine, evaluation, models
from .version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
