"""Data: NABirds and hyperspectral scenes as data sets, and checks of what comes in."""

from .checks import check_dataset
from .hyperspectral import (
    HSIRandomFlipRotate,
    HSIRandomWindow,
    HSISpectralNoise,
    HyperspectralDataset,
)
from .label_maps import CheckLabels
from .nabirds import NABirds

__all__ = [
    'CheckLabels',
    'HSIRandomFlipRotate',
    'HSIRandomWindow',
    'HSISpectralNoise',
    'HyperspectralDataset',
    'NABirds',
    'check_dataset',
]
