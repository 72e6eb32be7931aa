"""Hyperspectral scenes: reading them, dividing them into parts, windows as samples."""

from .bands import BandTransform, build_band_transform, restore_band_transform
from .dataset import HyperspectralDataset
from .reading import open_cube, read_georeference, read_variable
from .scenes import SCENES, Scene, SceneInfo, load_scene
from .splits import (
    GUARD,
    TEST,
    TRAIN,
    UNUSED,
    VAL,
    Overlap,
    Split,
    load_split,
    make_split,
    measure_overlap,
    report,
    save_split,
)
from .synthetic import generate_scene
from .transforms import (
    HSIBandDropout,
    HSICutout,
    HSIRandomFlipRotate,
    HSIRandomWindow,
    HSISpectralNoise,
)
from .windows import pad_scene, windows_of

__all__ = [
    'GUARD',
    'SCENES',
    'TEST',
    'TRAIN',
    'UNUSED',
    'VAL',
    'BandTransform',
    'HSIBandDropout',
    'HSICutout',
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
    'load_split',
    'make_split',
    'measure_overlap',
    'open_cube',
    'pad_scene',
    'read_georeference',
    'read_variable',
    'report',
    'restore_band_transform',
    'save_split',
    'windows_of',
]
