"""Cutting maps into windows, and joining them again."""

from collections.abc import Sequence

import torch

from .sizes import contiguous, crop, pad, statically_known


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
    batch, channels = x.shape[0], x.shape[3]
    x = x.unflatten(2, (columns, width)).unflatten(1, (rows, height)).transpose(2, 3)
    return contiguous(x).view(batch, rows * columns, height * width, channels)


def window_reverse(
    x: torch.Tensor, count: Sequence[int], size: Sequence[int], sides: Sequence[int]
) -> torch.Tensor:
    """Undo :func:`window_partition`: ``(N, windows, places, C)`` to a map of ``sides``."""
    (rows, columns), (height, width) = count, size
    batch, channels = x.shape[0], x.shape[-1]
    x = x.view(batch, rows, columns, height, width, channels)
    if not (statically_known(rows == 1) and statically_known(columns == 1)):
        x = contiguous(x.transpose(2, 3))
    return crop(x.view(batch, rows * height, columns * width, channels), sides)
