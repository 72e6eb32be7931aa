"""Sizes of pictures: as arguments, and bringing pictures to them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def check_size(owner: str, name: str, size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Read a side, or height and width.

    Args:
        owner: The class to name in the error.
        name: The argument's name.
        size: Its value; None stays None.

    Returns:
        Height and width.

    Raises:
        ValueError: It is none of these.
    """
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(
            f'{owner}: {name}={size!r} must be None, a number of pixels, or height and width'
        )
    return sides


def resize_pictures(x: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Resize pictures ``(N, C, H, W)`` with antialiasing, where they have another size.

    The arithmetic is in float32, the dtype stays; ``size=None`` leaves them as they are.
    """
    if size is None or tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x.float(), size, mode='bilinear', antialias=True).to(x.dtype)
