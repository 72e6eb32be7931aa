"""Checkpoints: reading files, loading any known layout, converting and publishing."""

from .files import LAYOUTS, convert_file, convert_state, publish_file
from .loading import CheckpointMismatchError, ConvertsOnLoad, compare
from .plain import CheckpointFileError
from .reading import read_checkpoint
from .whole import fitting_meta, whole

__all__ = [
    'LAYOUTS',
    'CheckpointFileError',
    'CheckpointMismatchError',
    'ConvertsOnLoad',
    'compare',
    'convert_file',
    'convert_state',
    'fitting_meta',
    'publish_file',
    'read_checkpoint',
    'whole',
]
