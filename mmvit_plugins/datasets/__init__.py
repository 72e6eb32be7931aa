"""Data: NABirds and hyperspectral scenes as data sets, and checks of what comes in."""

from .checks import CheckLabels, check_dataset
from .hyperspectral import (
    HSIBandDropout,
    HSICutout,
    HSIRandomFlipRotate,
    HSIRandomWindow,
    HSISpectralNoise,
    HyperspectralDataset,
)
from .nabirds import NABirds

__all__ = [
    'CheckLabels',
    'HSIBandDropout',
    'HSICutout',
    'HSIRandomFlipRotate',
    'HSIRandomWindow',
    'HSISpectralNoise',
    'HyperspectralDataset',
    'NABirds',
    'check_dataset',
]
