"""Pictures: predictions and activations over images, importance, maps of scenes."""

from .boxes import Boxes, draw_detection, paint_boxes
from .cam import draw_cam
from .images import (
    REGIONS,
    SHADES,
    draw_classification,
    draw_importance,
    draw_segmentation,
    paint,
    write_over,
)
from .maps import draw_map, draw_panel, error_map
from .two_stage import draw_two_stage

__all__ = [
    'REGIONS',
    'SHADES',
    'Boxes',
    'draw_cam',
    'draw_classification',
    'draw_detection',
    'draw_importance',
    'draw_map',
    'draw_panel',
    'draw_segmentation',
    'draw_two_stage',
    'error_map',
    'paint',
    'paint_boxes',
    'write_over',
]
