"""What a split gave: the pixels of each class, and how much its windows overlap."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from .split_settings import GUARD, TEST, TRAIN, VAL
from .splits import Split
from .windows import check_window, holding_windows

WIDTH = 100


class Overlap(NamedTuple):
    """Shares, 0 to 1, of the test pixels that see training data.

    Attributes:
        centre: Their window holds a training pixel.
        window: Their window shares a pixel with the window of a training pixel.
    """

    centre: float
    window: float


def measure_overlap(parts: np.ndarray, window_size: int) -> Overlap:
    """Measure how many test pixels see training data through their windows.

    Args:
        parts: ``(H, W)`` of a split.
        window_size: Side of the windows in pixels.

    Returns:
        The shares of the test pixels; NaN where there are none.

    Raises:
        DataError: There is no such split or window.
    """
    if not isinstance(parts, np.ndarray) or parts.ndim != 2:
        raise DataError('parts must be the array (H, W) of a split')
    check_window(window_size)
    test, train = parts == TEST, parts == TRAIN
    if not test.any():
        return Overlap(float('nan'), float('nan'))
    # Two windows share a pixel if their centres are less than a window apart in both directions.
    return Overlap(
        *(
            float(holding_windows(train, size)[test].mean())
            for size in (window_size, 2 * window_size - 1)
        )
    )


def report(split: Split, classes: Sequence[str], window_size: int, fit_on: str) -> str:
    """Return the split report that every run prints, at most 100 columns wide.

    Args:
        split: The split.
        classes: Names of the classes 1..K.
        window_size: Side of the windows in pixels.
        fit_on: Pixels that the band transform is fitted on.
    """
    columns = [split.counts(part, len(classes)) for part in (TRAIN, VAL, TEST, GUARD)]
    names = [f'{label:3d} {name}' for label, name in enumerate(classes, 1)]
    rows = [('class', 'train', 'val', 'test', 'guard'), *zip(names, *columns, strict=True)]
    rows.append(('    all', *(column.sum() for column in columns)))
    overlap = measure_overlap(split.parts, window_size)
    lines = [
        f'split {split.mode}, seed {split.seed}, guard {split.guard}, window {window_size}, band '
        f'transform fitted on {fit_on}',
        *(
            f'{name if len(name) < 48 else name[:44] + "...":<48}'
            + ''.join(f'{number:>9}' for number in numbers)
            for name, *numbers in rows
        ),
        f'overlap: {overlap.centre:.1%} of the test windows hold a training pixel, '
        f'{overlap.window:.1%} share a pixel with a training window',
        *(f'note: {note}' for note in split.notes),
    ]
    return '\n'.join(
        piece for line in lines for piece in textwrap.wrap(line, WIDTH, subsequent_indent='  ')
    )
