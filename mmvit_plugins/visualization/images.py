"""Pictures of what a network finds or looks at: painted over its image, with a legend."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import maximum_filter, minimum_filter

MIN_SIDE = (
    256  # smaller pictures are enlarged, pixel by pixel, so that titles and legend can be read
)
MIN_SIDE_OF_TOKENS = 448  # the same for pictures in which tokens of 4 pixels are to be told apart
FONT_SIZE = 16
MARGIN = 8
INK, PAPER = (20, 20, 20), (255, 255, 255)
SHADES = matplotlib.colormaps['viridis'](np.arange(256), bytes=True)[:, :3]
# of the regions; told apart by colour-blind eyes as well (Okabe and Ito)
REGIONS = {'minor': (86, 180, 233), 'middle': (240, 228, 66), 'salient': (213, 94, 0)}
AVERAGE = 2 / 49  # importance: 1 / 49 of a coarse key's, and 1 / 49 within a window of 7 x 7 tokens
IMPORTANCE_NOTES = (
    'Above: importance, the mean attention that a token receives.',
    'The colours end at the 1st and 99th percentile; marked is the average, 2/49 = 0.041.',
    'Below: regions and numbers of tokens; minor ones are merged hardest, salient ones least.',
)


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
        RGB ``(H, W, 3)``, uint8.
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
    scale = choose_scale(image)
    panels = {title: enlarge(pixels, scale) for title, pixels in panels.items()}
    present = sorted({int(k) for labels in maps.values() for k in np.unique(labels)})
    entries = [(classes[k], tuple(palette[k])) for k in present if k < len(classes)]
    return draw_beside(panels, entries)


def draw_beside(
    panels: Mapping[str, np.ndarray], entries: Sequence[tuple[str, tuple]]
) -> Image.Image:
    """Draw pictures of one size side by side, each below its title, above one legend.

    Args:
        panels: Title to RGB ``(H, W, 3)``, uint8.
        entries: Names and colours of the legend.
    """
    font, line = load_font()
    height, width = next(iter(panels.values())).shape[:2]
    # a panel may be narrower than its title, and a label map as wide as the legend needs
    total = len(panels) * (width + MARGIN) + MARGIN
    rows = wrap_entries(entries, total - 2 * MARGIN, font, line)
    top = line + 2 * MARGIN
    sheet = Image.new('RGB', (total, top + height + MARGIN + len(rows) * (line + MARGIN)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(panels.items()):
        left = MARGIN + index * (width + MARGIN)
        draw.text((left, MARGIN), title, INK, font)
        sheet.paste(Image.fromarray(pixels), (left, top))
    draw_legend(draw, rows, MARGIN, top + height + MARGIN)
    return sheet


def draw_importance(
    image: np.ndarray,
    stages: Mapping[str, tuple[np.ndarray, np.ndarray, int]],
    opacity: float = 0.6,
) -> Image.Image:
    """Draw for each stage, side by side, how important SG-Former takes each part of an image.

    Above, the importance is painted over the image in grey, with a colour scale that ends at the
    1st and the 99th percentile. Below, the regions are outlined and tinted, with their numbers of
    tokens.

    Args:
        image: RGB ``(H, W, 3)``, uint8.
        stages: Title to importance ``(h, w)``, regions ``(h, w)`` (0, 1 and, with three regions, 2
            for the most important) and stride: the token at ``(i, j)`` is drawn over the ``stride x
            stride`` pixels that begin at ``(i, j) * stride``. What lies beyond the image is cut
            off, but its tokens are counted.
        opacity: Of the importance, 0 to 1; regions are tinted with a third of it.
    """
    font, line = load_font()
    columns = [_draw_stage(image, title, *maps, opacity) for title, maps in stages.items()]
    text_width = ceil(max(map(font.getlength, IMPORTANCE_NOTES)))
    width = max(sum(column.width for column in columns), text_width + 2 * MARGIN)
    top = max(column.height for column in columns)
    sheet = Image.new('RGB', (width, top + len(IMPORTANCE_NOTES) * line + MARGIN), PAPER)
    left = 0
    for column in columns:
        sheet.paste(column, (left, 0))
        left += column.width
    draw_lines(sheet, IMPORTANCE_NOTES, top)
    return sheet


def _draw_stage(
    image: np.ndarray,
    title: str,
    importance: np.ndarray,
    regions: np.ndarray,
    stride: int,
    opacity: float,
) -> Image.Image:
    """Draw one column of :func:`draw_importance`."""
    scale = choose_scale(image, MIN_SIDE_OF_TOKENS)
    image = enlarge(image, scale)
    height, width = image.shape[:2]
    font, line = load_font()
    names = [name for name in REGIONS if name != 'middle' or regions.max() == 2]
    counts = np.bincount(regions.ravel(), minlength=len(names))
    palette = [REGIONS[name] for name in names]
    texts = [f'{name} {count}' for name, count in zip(names, counts, strict=True)]
    rows = wrap_entries(list(zip(texts, palette, strict=True)), width, font, line)
    importance, regions = (
        enlarge(tokens, stride * scale)[:height, :width] for tokens in (importance, regions)
    )
    low, high = np.percentile(importance, (1, 99))
    shades = np.interp(importance, (low, high), (0, 255)).round().astype(int)
    grey = image.mean(2, keepdims=True).repeat(3, 2)
    edge = 2 * min(max(stride * scale // 8, 1), 3) + 1  # wide enough to be seen around a token
    edges = maximum_filter(regions, edge) != minimum_filter(regions, edge)
    tinted = paint(grey, regions, palette, opacity / 3)
    outlined = paint(tinted, np.where(edges, regions, 255), palette, 1)

    step = line + MARGIN
    total = max(width, ceil(font.getlength(title))) + 2 * MARGIN
    column = Image.new('RGB', (total, (3 + len(rows)) * step + 2 * height + MARGIN), PAPER)
    draw = ImageDraw.Draw(column)
    draw.text((MARGIN, MARGIN), title, INK, font)
    column.paste(Image.fromarray(paint(grey, shades, SHADES, opacity)), (MARGIN, step + MARGIN))
    top = step + height + 2 * MARGIN
    _draw_scale(draw, (MARGIN, top, MARGIN + width, top + line), low, high)
    column.paste(Image.fromarray(outlined), (MARGIN, top + step))
    draw_legend(draw, rows, MARGIN, top + step + height + MARGIN)
    return column


def _draw_scale(draw: ImageDraw.ImageDraw, box: tuple, low: float, high: float) -> None:
    """Draw the colours of importance between two values, and a mark at the average."""
    font, _ = load_font()
    left, top, right, bottom = box
    ends = [f'{value:.3g}' for value in (low, high)]
    draw.text((left, top), ends[0], INK, font)
    draw.text((right, top), ends[1], INK, font, anchor='ra')
    left, right = (
        left + ceil(font.getlength(ends[0])) + MARGIN,
        right - ceil(font.getlength(ends[1])) - MARGIN,
    )
    for x in range(left, right):
        shade = SHADES[(x - left) * 255 // max(right - left - 1, 1)]
        draw.line((x, top, x, bottom), tuple(map(int, shade)))
    if low < AVERAGE < high:
        x = left + round((AVERAGE - low) / (high - low) * (right - left))
        draw.line((x, top, x, bottom), PAPER, 3)


def draw_classification(image: np.ndarray, lines: Sequence[str]) -> Image.Image:
    """Draw an image RGB ``(H, W, 3)`` with lines of text below it."""
    image = enlarge(image, choose_scale(image))
    height, width = image.shape[:2]
    font, line = load_font()
    text_width = ceil(max(font.getlength(text) for text in lines))
    width = max(width, text_width + 2 * MARGIN)
    sheet = Image.new('RGB', (width, height + len(lines) * line + 2 * MARGIN), PAPER)
    sheet.paste(Image.fromarray(image))
    draw_lines(sheet, lines, height + MARGIN)
    return sheet


def write_over(image: np.ndarray, text: str) -> np.ndarray:
    """Write a line of text over the upper left of an image, RGB ``(H, W, 3)``, uint8."""
    font, line = load_font(max(FONT_SIZE, image.shape[0] // 24))
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, ceil(font.getlength(text)) + 2 * MARGIN, line + MARGIN), PAPER)
    draw.text((MARGIN, MARGIN // 2), text, INK, font)
    return np.asarray(picture)


def choose_scale(image: np.ndarray, min_side: int = MIN_SIDE) -> int:
    """Choose how many times a picture is enlarged."""
    return ceil(min_side / min(image.shape[:2]))


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Repeat each pixel: ``(H, W, ...) -> (scale * H, scale * W, ...)``."""
    return pixels.repeat(scale, 0).repeat(scale, 1)


def draw_lines(sheet: Image.Image, lines: Sequence[str], top: int, left: int = MARGIN) -> None:
    """Write lines of text from ``top`` down."""
    font, line = load_font()
    ImageDraw.Draw(sheet).multiline_text(
        (left, top), '\n'.join(lines), INK, font, spacing=line - FONT_SIZE
    )


def draw_legend(draw: ImageDraw.ImageDraw, rows: Sequence[Sequence], left: int, top: int) -> None:
    """Draw what :func:`wrap_entries` placed."""
    font, line = load_font()
    for number, row in enumerate(rows):
        y = top + number * (line + MARGIN)
        for x, name, colour in row:
            box = (left + x, y, left + x + line, y + line)
            draw.rectangle(box, colour, outline=INK)
            draw.text((left + x + line + MARGIN, y), name, INK, font)


def load_font(size: int = FONT_SIZE) -> tuple[ImageFont.FreeTypeFont, int]:
    """Return the font, which matplotlib brings along, and the height of a line."""
    path = Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSans.ttf'
    font = ImageFont.truetype(str(path), size)
    return font, sum(font.getmetrics())


def wrap_entries(
    entries: Sequence[tuple[str, tuple]], width: int, font: ImageFont.FreeTypeFont, line: int
) -> list[list[tuple[int, str, tuple]]]:
    """Place legend entries in rows of one width: lists of (x, name, colour)."""
    rows: list[list[tuple[int, str, tuple]]] = [[]]
    x = 0
    for name, colour in entries:
        needed = line + MARGIN + ceil(font.getlength(name)) + 2 * MARGIN
        if rows[-1] and x + needed > width:
            rows.append([])
            x = 0
        rows[-1].append((x, name, colour))
        x += needed
    return rows
