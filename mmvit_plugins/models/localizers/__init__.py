"""Where to look: response maps of a picture, the boxes that they give, and what is in the boxes."""

from .activation import ActivationLocalizer
from .attention import AttentionLocalizer
from .boxes import crop_boxes, find_boxes
from .sizes import resize_pictures

__all__ = [
    'ActivationLocalizer',
    'AttentionLocalizer',
    'crop_boxes',
    'find_boxes',
    'resize_pictures',
]
