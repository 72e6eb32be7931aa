"""Pictures of a classifier that looks twice: where it looks again, what it sees, what it finds."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from .cam import enlarge_small, lay_out, paint_heat
from .images import PAPER, REGIONS

FRAME = REGIONS['salient']


def draw_two_stage(
    image: np.ndarray,
    response: np.ndarray,
    box: Sequence[float],
    status: str,
    results: Mapping[str, Sequence[str]],
    opacity: float = 0.5,
) -> Image.Image:
    """Draw an image and its response, both with the box, the enlarged crop, and lists of results.

    The response is coloured from its least value to its 99th percentile; what is not finite counts
    as 0.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        response: ``(h, w)``, stretched over the image.
        box: Left, top, right and bottom edge in pixels of the image.
        status: What is to be known of the box, in a word.
        results: Title to lines of text, as ``stage one``, for up to three columns.
        opacity: Of the response, 0 to 1.
    """
    values = np.nan_to_num(response.astype(np.float32), posinf=0, neginf=0)
    low, high = np.percentile(values, (0, 99))
    heat = (values - low) / ((high - low) or 1)
    large = enlarge_small(image)
    edges = [edge * large.shape[0] / image.shape[0] for edge in box]
    width, height = edges[2] - edges[0], edges[3] - edges[1]
    zoom = large.shape[0] / height
    panels = {
        'input': _frame(large, edges),
        'response': _frame(paint_heat(large, heat, opacity), edges),
        'crop': np.asarray(
            Image.fromarray(image).resize(
                (max(round(width * zoom), 1), large.shape[0]), Image.Resampling.BILINEAR, tuple(box)
            )
        ),
    }
    left, top, right, bottom = (round(edge) for edge in box)
    where = f'box: {status}, x {left} to {right}, y {top} to {bottom}'
    columns = [[title, *lines] for title, lines in results.items()]
    return lay_out(panels, [f'{where} of {image.shape[1]} x {image.shape[0]} pixels', ''], columns)


def _frame(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Draw the outline of a box inside its edges, in pixels of an image RGB ``(H, W, 3)``."""
    picture = Image.fromarray(image)
    left, top, right, bottom = (round(edge) for edge in box)
    line = max(min(image.shape[:2]) // 100, 2)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=PAPER, width=2 * line)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=FRAME, width=line)
    return np.asarray(picture)
