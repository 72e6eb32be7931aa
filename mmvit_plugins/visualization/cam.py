"""Pictures of what a network responds to: a heat map over its image, side by side with it."""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from PIL import Image

from .images import MARGIN, MIN_SIDE, PAPER, SHADES, draw_lines, enlarge, load_font, paint


def draw_cam(
    image: np.ndarray, cam: np.ndarray, lines: Sequence[str], opacity: float = 0.5
) -> Image.Image:
    """Draw an image, beside it a class-activation map over it, and lines of text below.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        cam: ``(h, w)``, 0 to 1, stretched over the image.
        lines: As method, layer and class.
        opacity: Of the map, 0 to 1.
    """
    image = enlarge_small(image)
    return lay_out({'input': image, 'activation': paint_heat(image, cam, opacity)}, lines)


def enlarge_small(image: np.ndarray) -> np.ndarray:
    """Repeat the pixels of an image ``(H, W, 3)`` until it is large enough to be looked at."""
    return enlarge(image, ceil(MIN_SIDE / min(image.shape[:2])))


def paint_heat(image: np.ndarray, response: np.ndarray, opacity: float) -> np.ndarray:
    """Paint a map over an image in grey, dark blue for 0 to yellow for 1.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        response: ``(h, w)``, clipped to 0 to 1, resized bilinearly to the image.
        opacity: Of the map, 0 to 1.

    Returns:
        RGB ``(H, W, 3)``, uint8.
    """
    height, width = image.shape[:2]
    heat = Image.fromarray(response.astype(np.float32)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    shades = (np.asarray(heat).clip(0, 1) * 255).round().astype(int)
    return paint(image.mean(2, keepdims=True).repeat(3, 2), shades, SHADES, opacity)


def lay_out(
    panels: Mapping[str, np.ndarray],
    lines: Sequence[str],
    columns: Sequence[Sequence[str]] = (),
) -> Image.Image:
    """Place pictures side by side, each below its title, then lines and columns of text.

    Args:
        panels: Title to RGB ``(H_i, W_i, 3)``, uint8.
        lines: Below all pictures.
        columns: Below these, lines of text for the first pictures.
    """
    font, line = load_font()
    columns = [*columns, *[()] * (len(panels) - len(columns))]
    lefts, right = [], MARGIN
    for (title, picture), column in zip(panels.items(), columns, strict=True):
        lefts.append(right)
        texts = (ceil(font.getlength(text)) for text in (title, *column))
        right += MARGIN + max(picture.shape[1], *texts)
    width = max([right, *(ceil(font.getlength(text)) + 2 * MARGIN for text in lines)])
    top = line + 2 * MARGIN
    below = top + MARGIN + max(picture.shape[0] for picture in panels.values())
    under = below + MARGIN + len(lines) * line
    sheet = Image.new('RGB', (width, under + MARGIN + line * max(map(len, columns))), PAPER)
    for (title, picture), column, left in zip(panels.items(), columns, lefts, strict=True):
        draw_lines(sheet, [title], MARGIN, left)
        sheet.paste(Image.fromarray(picture), (left, top))
        draw_lines(sheet, column, under, left)
    draw_lines(sheet, lines, below)
    return sheet
