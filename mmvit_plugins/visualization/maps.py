"""Maps of hyperspectral scenes: pictures in exactly the colours of the classes, and a panel.

Labels are 0 for unlabelled or not computed, which is black, and 1 to K for the classes.
"""

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from .images import (
    INK,
    MARGIN,
    MIN_SIDE,
    PAPER,
    draw_legend,
    draw_lines,
    enlarge,
    load_font,
    wrap_entries,
)

MAX_SIDE = 1024  # of one picture in a panel; a larger scene is shown by every n-th pixel
BLACK = (0, 0, 0)
# of an error map; its labels are the places in this table, black goes before them
ERRORS = {'right': (0, 160, 60), 'wrong': (220, 30, 30), 'training pixel': (140, 140, 140)}
Palette = Sequence[Sequence[int]]


def draw_map(labels: np.ndarray, palette: Palette, scale: int = 1) -> Image.Image:
    """Draw labels in exactly the palette's colours, each pixel as a square.

    Args:
        labels: ``(H, W)``, 0 to K.
        palette: RGB colours of the classes 1 to K.
        scale: Side of the squares.

    Returns:
        ``(scale * W) x (scale * H)``; the labels and a colour table, or with more than 255 classes,
        which no table holds, RGB.
    """
    colours = np.asarray([BLACK, *palette], np.uint8)
    labels = enlarge(labels, scale)
    if len(palette) > 255:
        return Image.fromarray(colours[labels.astype(int)])
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(colours.tobytes())
    return picture


def error_map(truth: np.ndarray, prediction: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Compare labels: 0 unlabelled or not computed, then the places in ``ERRORS``, from 1.

    Args:
        truth: ``(H, W)``, 0 for unlabelled.
        prediction: ``(H, W)``, 0 for not computed.
        training: ``(H, W)``, bool, the pixels that the network was trained on.
    """
    errors = np.where(truth == prediction, 1, 2).astype(np.uint8)
    errors[(truth == 0) | (prediction == 0)] = 0
    errors[training] = 3
    return errors


def stretch(bands: np.ndarray) -> np.ndarray:
    """Turn three bands ``(H, W, 3)`` into RGB, uint8, each from its 2nd to its 98th percentile.

    Pixels that are not finite are black and do not count.
    """
    finite = np.isfinite(bands).all(-1)
    picture = np.zeros(bands.shape, np.uint8)
    if finite.any():
        pixels = bands[finite].astype(np.float64)
        low, high = np.percentile(pixels, (2, 98), axis=0)
        span = np.where(high > low, high - low, 1)
        picture[finite] = ((pixels - low) / span * 255).clip(0, 255).round()
    return picture


def panel_step(shape: Sequence[int]) -> int:
    """Choose every how many pixels of a scene ``(H, W)`` a panel shows."""
    return ceil(max(shape[:2]) / MAX_SIDE)


def map_scale(shape: Sequence[int]) -> int:
    """Choose how many times a map ``(H, W)`` is enlarged: so that it can be seen, and fits."""
    height, width = shape[:2]
    return max(1, min(ceil(MIN_SIDE / min(height, width)), MAX_SIDE // max(height, width)))


def draw_panel(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    errors: np.ndarray | None,
    classes: Sequence[str],
    palette: Palette,
    lines: Sequence[str],
) -> Image.Image:
    """Draw a scene, its maps and an error map above a legend of all classes and lines of text.

    Args:
        image: RGB ``(h, w, 3)``, uint8: every :func:`panel_step`-th pixel of the scene.
        maps: Title to labels ``(H, W)``, as ``prediction``.
        errors: Of :func:`error_map`, ``(H, W)``, None where the truth is unknown.
        classes: Names of the classes 1 to K.
        palette: Their RGB colours.
        lines: Below the legend.
    """
    tables = {title: (labels, palette) for title, labels in maps.items()}
    legend = list(zip(classes, map(tuple, palette), strict=True))
    legend.append(('unlabelled or not computed', BLACK))
    if errors is not None:
        tables['errors'] = (errors, tuple(ERRORS.values()))
        legend += ERRORS.items()
    pictures = {'false colour': Image.fromarray(image)}
    for title, (labels, colours) in tables.items():
        step = panel_step(labels.shape)
        pictures[title] = draw_map(labels[::step, ::step], colours).convert('RGB')
    height, width = image.shape[:2]
    scale = map_scale(image.shape)
    height, width = height * scale, width * scale
    font, line = load_font()

    columns = 1 if width > 2 * height else len(pictures)  # a long scene is shown in rows
    cell = max(width, *(ceil(font.getlength(title)) for title in pictures)) + MARGIN
    text_width = ceil(max(map(font.getlength, [*lines, *(name for name, _ in legend)])))
    total = max(columns * cell + MARGIN, text_width + line + 4 * MARGIN)
    rows = wrap_entries(legend, total - 2 * MARGIN, font, line)
    step = line + height + 2 * MARGIN
    top = MARGIN + ceil(len(pictures) / columns) * step
    bottom = top + len(rows) * (line + MARGIN)
    sheet = Image.new('RGB', (total, bottom + len(lines) * line + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, picture) in enumerate(pictures.items()):
        row, column = divmod(index, columns)
        left, upper = MARGIN + column * cell, MARGIN + row * step
        draw.text((left, upper), title, INK, font)
        enlarged = picture.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(enlarged, (left, upper + line + MARGIN))
    draw_legend(draw, rows, MARGIN, top)
    draw_lines(sheet, lines, bottom)
    return sheet
