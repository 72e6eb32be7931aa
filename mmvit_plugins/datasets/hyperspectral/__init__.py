"""Hyperspectral scenes: reading them, dividing them into parts, windows as samples."""

from .bands import BandTransform, build_band_transform, restore_band_transform
from .catalogue import SCENES, SceneInfo
from .dataset import HyperspectralDataset
from .projections import LDA, PCA
from .reading import open_cube, read_georeference, read_variable
from .scenes import Scene, load_scene
from .split_report import Overlap, measure_overlap, report
from .split_settings import GUARD, TEST, TRAIN, UNUSED, VAL
from .splits import Split, make_split
from .synthetic import generate_scene
from .transforms import (
    HSIRandomFlipRotate,
    HSIRandomWindow,
    HSISpectralNoise,
)
from .windows import pad_scene, windows_of

__all__ = [
    'GUARD',
    'LDA',
    'PCA',
    'SCENES',
    'TEST',
    'TRAIN',
    'UNUSED',
    'VAL',
    'BandTransform',
    'HSIRandomFlipRotate',
    'HSIRandomWindow',
    'HSISpectralNoise',
    'HyperspectralDataset',
    'Overlap',
    'Scene',
    'SceneInfo',
    'Split',
    'build_band_transform',
    'generate_scene',
    'load_scene',
    'make_split',
    'measure_overlap',
    'open_cube',
    'pad_scene',
    'read_georeference',
    'read_variable',
    'report',
    'restore_band_transform',
    'windows_of',
]
