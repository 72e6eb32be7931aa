"""Pictures: predictions painted over images, importance, and maps of hyperspectral scenes."""

from .images import (
    REGIONS,
    SHADES,
    draw_classification,
    draw_importance,
    draw_segmentation,
    paint,
)
from .maps import decode_map, draw_map, draw_panel, error_map

__all__ = [
    'REGIONS',
    'SHADES',
    'decode_map',
    'draw_classification',
    'draw_importance',
    'draw_map',
    'draw_panel',
    'draw_segmentation',
    'error_map',
    'paint',
]
