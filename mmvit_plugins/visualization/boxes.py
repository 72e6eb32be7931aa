"""Pictures of detections: boxes and masks over an image, each with a label that can be read."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import minimum_filter

from .images import INK, PAPER, choose_scale, draw_beside, enlarge, load_font, paint

GOLDEN = 0.618034  # hues this far apart differ for any number of classes
SMALLEST_FONT = 12
PAD = 2  # of a label's text


class Boxes(NamedTuple):
    """Boxes of one picture.

    Args:
        corners: ``(n, 4)``: left, top, right, bottom in pixels.
        labels: ``(n,)``, classes counted from 0.
        scores: ``(n,)``; None for the truth.
        masks: ``(n, H, W)``, bool; None without.
    """

    corners: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None


def draw_detection(
    image: np.ndarray,
    panels: Mapping[str, Boxes],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] | None = None,
    opacity: float = 0.6,
) -> Image.Image:
    """Draw sets of boxes over an image, side by side, above a legend.

    Lines and letters grow with the image; a small image is enlarged, pixel by pixel. A class has
    one colour. Labels stay within the picture and keep clear of each other where there is room.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        panels: Title, as ``prediction``, to boxes.
        classes: Their names; a class without one is shown as its number.
        palette: One RGB colour for each class; by default colours are chosen.
        opacity: Of the masks, 0 to 1.
    """
    scale = choose_scale(image)
    image = enlarge(image, scale)
    names, colours = _name(classes, palette, panels.values())
    drawn = {}
    for title, boxes in panels.items():
        count = len(boxes.labels)
        title = f'{title}: {count or "no"} {"box" if count == 1 else "boxes"}'
        drawn[title] = _draw_boxes(image, boxes, names, colours, scale, opacity)
    return draw_beside(drawn, [(name, colours[k]) for k, name in names.items()])


def paint_boxes(
    image: np.ndarray,
    boxes: Boxes,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] | None = None,
    opacity: float = 0.6,
) -> np.ndarray:
    """Draw boxes over an image without anything around it, as :func:`draw_detection` does.

    Returns:
        RGB ``(H, W, 3)``, uint8, as large as the image.
    """
    names, colours = _name(classes, palette, [boxes])
    return _draw_boxes(image, boxes, names, colours, 1, opacity)


def _name(
    classes: Sequence[str], palette: Sequence[Sequence[int]] | None, panels: Iterable[Boxes]
) -> tuple[dict[int, str], dict[int, tuple]]:
    """Find names and colours of the classes present."""
    present = sorted({int(label) for boxes in panels for label in boxes.labels})
    names = {k: str(classes[k]) if k < len(classes) else str(k) for k in present}
    return names, {k: _colour(k, palette) for k in present}


def _colour(label: int, palette: Sequence[Sequence[int]] | None) -> tuple[int, int, int]:
    if palette is not None and label < len(palette):
        red, green, blue = map(int, palette[label])
    else:
        shade = matplotlib.colors.hsv_to_rgb((label * GOLDEN % 1, 0.75, 0.95))
        red, green, blue = map(int, (shade * 255).round())
    return red, green, blue


def _draw_boxes(
    image: np.ndarray,
    boxes: Boxes,
    names: Mapping[int, str],
    colours: Mapping[int, tuple],
    scale: int,
    opacity: float,
) -> np.ndarray:
    """Draw boxes over an image that was enlarged ``scale`` times."""
    height, width = image.shape[:2]
    side = min(height, width)
    line = max(2, round(side / 240))
    font, _ = load_font(max(SMALLEST_FONT, round(side / 34)))
    # the least certain first, so that the others lie over it
    order = range(len(boxes.labels))[::-1]
    if boxes.scores is not None:
        order = np.argsort(boxes.scores, kind='stable')
    if boxes.masks is not None:
        image = _paint_masks(image, boxes, order, colours, scale, line, opacity)
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    corners = np.asarray(boxes.corners, float).reshape(-1, 4) * scale
    corners = corners.clip(0, (width, height, width, height)).round().astype(int)
    for i in order:
        _draw_frame(draw, corners[i], colours[int(boxes.labels[i])], line)
    taken: list[tuple] = []
    for i in reversed(order):
        label = int(boxes.labels[i])
        score = '' if boxes.scores is None else f' {boxes.scores[i]:.2f}'
        text = _shorten(names[label], score, font, width - 2 * PAD)
        size = (ceil(font.getlength(text)) + 2 * PAD, sum(font.getmetrics()) + PAD)
        taken.append(_place(corners[i], size, line, (width, height), taken))
        left, top, right, bottom = taken[-1]
        draw.rectangle((left, top, right - 1, bottom - 1), colours[label])
        draw.text((left + PAD, top), text, _contrast(colours[label]), font)
    return np.asarray(picture)


def _paint_masks(
    image: np.ndarray,
    boxes: Boxes,
    order: Sequence[int],
    colours: Mapping[int, tuple],
    scale: int,
    line: int,
    opacity: float,
) -> np.ndarray:
    """Paint masks, each with an edge that parts it from others of its class."""
    for i in order:
        mask = enlarge(boxes.masks[i].astype(bool), scale)
        palette = [colours[int(boxes.labels[i])]]
        edge = mask & ~minimum_filter(mask, 2 * line + 1, mode='constant')
        image = paint(image, np.where(mask, 0, 255), palette, opacity)
        image = paint(image, np.where(edge, 0, 255), palette, 1)
    return image


def _draw_frame(draw: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple, line: int) -> None:
    """Draw a frame between two thin ones, which keep it visible on an image of its colour."""
    left, top, right, bottom = box.tolist()
    right, bottom = max(right - 1, left), max(bottom - 1, top)
    rim = _contrast(colour)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=rim)
    inner = (left + line, top + line, right - line, bottom - line)
    if inner[0] < inner[2] and inner[1] < inner[3]:
        draw.rectangle(inner, outline=rim)
    draw.rectangle((left, top, right, bottom), outline=colour, width=line)


def _shorten(name: str, score: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Join a name, cut where it does not fit into a width, and a score."""
    text = name + score
    while font.getlength(text) > width and name:
        name = name[:-1]
        text = f'{name}…{score}'
    return text


def _place(
    box: np.ndarray,
    size: tuple[int, int],
    line: int,
    picture: tuple[int, int],
    taken: Sequence[tuple],
) -> tuple[int, int, int, int]:
    """Find where a label covers least of other labels: above its box, within, below, on the left.

    Returns:
        Left, top, right, bottom, all within the picture.
    """
    left, top, right, bottom = box.tolist()
    covers = []
    for y in (top - size[1], top + line, bottom, bottom - line - size[1]):
        for x in (left, right - size[0]):
            x = max(min(x, picture[0] - size[0]), 0)
            if 0 <= y <= picture[1] - size[1]:
                covers.append((x, y, x + size[0], y + size[1]))
    return min(covers, key=lambda cover: sum(_overlap(cover, other) for other in taken))


def _overlap(a: tuple, b: tuple) -> int:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0) * max(high, 0)


def _contrast(colour: tuple) -> tuple[int, int, int]:
    """Choose black or white, whichever is told apart from a colour more easily."""
    brightness = np.dot(colour, (0.299, 0.587, 0.114))
    return INK if brightness > 128 else PAPER
