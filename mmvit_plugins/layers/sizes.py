"""Sizes of maps, in forms that compilation for any size understands, and cutting to size."""

from collections.abc import Sequence

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true


def is_capturing() -> bool:
    """Tell whether operations are being recorded for a graph, instead of run for themselves."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def ceil_div(a: int, b: int) -> int:
    """Divide and round up, in integers only, which symbolic sizes need."""
    return (a + b - 1) // b


def statically_known(condition: bool) -> bool:
    """Tell whether a condition on sizes holds; for symbolic sizes, whether it holds for all."""
    return bool(condition) if torch.jit.is_tracing() else statically_known_true(condition)


def contiguous(x: torch.Tensor) -> torch.Tensor:
    """Copy to dense memory, without asking (a question of symbolic sizes) whether it is needed."""
    return x.clone(memory_format=torch.contiguous_format)


def crop(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Cut a map ``(N, H, W, ...)`` down to ``sides`` at the bottom and right."""
    if statically_known(x.shape[1] == sides[0]) and statically_known(x.shape[2] == sides[1]):
        return x
    return contiguous(x[:, : sides[0], : sides[1]])


def pad(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Fill a map ``(N, H, W, C)`` up to ``sides`` with zeros at the bottom and right."""
    below, right = sides[0] - x.shape[1], sides[1] - x.shape[2]
    if statically_known(below == 0) and statically_known(right == 0):
        return x
    return torch.nn.functional.pad(x, (0, 0, 0, right, 0, below))


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Fill a picture ``(N, C, H, W)`` up with zeros; the result is in channels-last memory."""
    sides = [ceil_div(side, multiple) * multiple for side in x.shape[2:]]
    x = pad(x.permute(0, 2, 3, 1), sides).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def resize_table(table: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Resize a table ``(1, rows, columns, C)`` bicubically."""
    if statically_known(rows == table.shape[1]) and statically_known(columns == table.shape[2]):
        return table
    table = torch.nn.functional.interpolate(
        table.permute(0, 3, 1, 2), (rows, columns), mode='bicubic'
    )
    return table.permute(0, 2, 3, 1)
