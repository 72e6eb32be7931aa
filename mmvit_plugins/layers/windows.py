"""Cutting maps into windows, and joining them again."""

from collections.abc import Sequence

import torch
from einops import rearrange

from .sizes import crop, pad, statically_known


def window_partition(x: torch.Tensor, count: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Cut a map into windows, row by row: ``(N, H, W, C) -> (N, windows, places, C)``.

    Args:
        x: The map.
        count: Windows along the height and the width.
        size: Height and width of a window; the windows reach over the bottom and
            right edges by less than the map's size, where they hold zeros.
    """
    (rows, columns), (height, width) = count, size
    x = pad(x, (rows * height, columns * width))
    if statically_known(rows == 1) and statically_known(columns == 1):
        return x.flatten(1, 2).unsqueeze(1)
    pattern = 'n (rows h) (columns w) c -> n (rows columns) (h w) c'
    return rearrange(x, pattern, rows=rows, columns=columns)


def window_reverse(
    x: torch.Tensor, count: Sequence[int], size: Sequence[int], sides: Sequence[int]
) -> torch.Tensor:
    """Undo :func:`window_partition`: ``(N, windows, places, C)`` to a map of ``sides``."""
    (rows, columns), (height, width) = count, size
    if statically_known(rows == 1) and statically_known(columns == 1):
        x = x.squeeze(1).unflatten(1, (height, width))
    else:
        pattern = 'n (rows columns) (h w) c -> n (rows h) (columns w) c'
        x = rearrange(x, pattern, rows=rows, columns=columns, h=height, w=width)
    return crop(x, sides)
