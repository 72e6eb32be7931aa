"""Pictures of segmentations: classes painted over the image, side by side, above a legend."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

MIN_SIDE = (
    256  # smaller pictures are enlarged, pixel by pixel, so that titles and legend can be read
)
FONT_SIZE = 16
MARGIN = 8
INK, PAPER = (20, 20, 20), (255, 255, 255)


def paint(
    image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]], opacity: float
) -> np.ndarray:
    """Paint classes over an image.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        labels: ``(H, W)``; labels without a colour, such as 255 for ignored, are left unpainted.
        palette: One RGB colour for each class.
        opacity: 0 keeps the image, 1 hides it.

    Returns:
        np.ndarray: RGB ``(H, W, 3)``, uint8.
    """
    known = labels < len(palette)
    colours = np.asarray(palette, np.float32)[np.where(known, labels, 0)]
    share = opacity * known[..., None]
    return (image * (1 - share) + colours * share).round().astype(np.uint8)


def draw_segmentation(
    image: np.ndarray,
    maps: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float = 0.6,
) -> Image.Image:
    """Draw an image, beside it each label map painted over it, and a legend of the classes present.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        maps: Title, as ``prediction``, to labels ``(H, W)``.
        classes: Their names.
        palette: One RGB colour for each class.
        opacity: Of the paint, 0 to 1.
    """
    panels = {'input': image}
    panels |= {title: paint(image, labels, palette, opacity) for title, labels in maps.items()}
    height, width = image.shape[:2]
    scale = ceil(MIN_SIDE / min(height, width))
    height, width = height * scale, width * scale
    font, line = _font()

    # a panel may be narrower than its title, and a label map as wide as the legend needs
    total = len(panels) * (width + MARGIN) + MARGIN
    present = sorted({int(k) for labels in maps.values() for k in np.unique(labels)})
    entries = [(classes[k], tuple(palette[k])) for k in present if k < len(classes)]
    rows = _wrap(entries, total - 2 * MARGIN, font, line)
    top = line + 2 * MARGIN
    sheet = Image.new('RGB', (total, top + height + MARGIN + len(rows) * (line + MARGIN)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(panels.items()):
        left = MARGIN + index * (width + MARGIN)
        draw.text((left, MARGIN), title, INK, font)
        sheet.paste(Image.fromarray(pixels).resize((width, height), Image.NEAREST), (left, top))
    for number, row in enumerate(rows):
        y = top + height + MARGIN + number * (line + MARGIN)
        for x, name, colour in row:
            box = (MARGIN + x, y, MARGIN + x + line, y + line)
            draw.rectangle(box, colour, outline=INK)
            draw.text((MARGIN + x + line + MARGIN, y), name, INK, font)
    return sheet


def draw_classification(image: np.ndarray, lines: Sequence[str]) -> Image.Image:
    """Draw an image RGB ``(H, W, 3)`` with lines of text below it."""
    height, width = image.shape[:2]
    scale = ceil(MIN_SIDE / min(height, width))
    font, line = _font()
    text_width = ceil(max(font.getlength(text) for text in lines))
    size = (max(width * scale, text_width + 2 * MARGIN), height * scale)
    sheet = Image.new('RGB', (size[0], size[1] + len(lines) * line + 2 * MARGIN), PAPER)
    sheet.paste(Image.fromarray(image).resize((width * scale, height * scale), Image.NEAREST))
    ImageDraw.Draw(sheet).multiline_text(
        (MARGIN, size[1] + MARGIN), '\n'.join(lines), INK, font, spacing=line - FONT_SIZE
    )
    return sheet


def _font() -> tuple[ImageFont.FreeTypeFont, int]:
    """Return the font, which matplotlib brings along, and the height of a line."""
    path = Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSans.ttf'
    font = ImageFont.truetype(str(path), FONT_SIZE)
    return font, sum(font.getmetrics())


def _wrap(
    entries: Sequence[tuple[str, tuple]], width: int, font: ImageFont.FreeTypeFont, line: int
) -> list[list[tuple[int, str, tuple]]]:
    """Place legend entries in rows of one width: lists of (x, name, colour)."""
    rows, x = [[]], 0
    for name, colour in entries:
        needed = line + MARGIN + ceil(font.getlength(name)) + 2 * MARGIN
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0
        rows[-1].append((x, name, colour))
        x += needed
    return rows
