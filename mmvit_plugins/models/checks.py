"""What models refuse: wrong options, wrong numbers, other maps than were announced."""

from collections.abc import Sequence
from typing import Any

import torch


def check_options(owner: str, **options: tuple[object, Sequence]) -> None:
    """Refuse what is not on offer.

    Args:
        owner: The class to name in the error.
        options: Argument's name to its value and what is allowed.

    Raises:
        ValueError: For the first value that is not allowed.
    """
    for name, (value, allowed) in options.items():
        if value not in tuple(allowed):
            raise ValueError(f'{owner}: {name}={value!r} must be one of {tuple(allowed)}')


def check_positive(owner: str, many: bool = False, entries: int = 0, **values: Any) -> None:
    """Refuse what is no positive integer or, with ``many``, no sequence of them.

    Args:
        owner: The class to name in the error.
        many: Whether the values are sequences.
        entries: How many numbers each has, one for each stage; implies ``many``.
        values: Argument's name to its value.

    Raises:
        ValueError: For the first value that is not allowed.
    """
    what = 'positive integers' if many else 'a positive integer'
    if entries:
        many, what = True, f'{entries} positive integers, one for each stage'
    for name, value in values.items():
        numbers = value if many else [value]
        good = isinstance(numbers, (list, tuple)) and numbers
        good = good and (not entries or len(numbers) == entries)
        if not good or any(type(number) is not int or number < 1 for number in numbers):
            raise ValueError(f'{owner}: {name}={value!r} must be {what}')


def check_rate(owner: str, **values: float) -> None:
    """Refuse what is no share of things to drop.

    Raises:
        ValueError: For the first value outside of [0, 1).
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ValueError(f'{owner}: {name}={value!r} must be in [0, 1)')


def check_size(owner: str, name: str, size: int | Sequence[int]) -> tuple[int, int]:
    """Read a side, or height and width.

    Args:
        owner: The class to name in the error.
        name: The argument's name.
        size: Its value.

    Raises:
        ValueError: It is neither.
    """
    sides = (size, size) if isinstance(size, int) else size
    good = isinstance(sides, (list, tuple)) and len(sides) == 2
    if not good or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(
            f'{owner}: {name}={size!r} must be a positive integer, or height and width'
        )
    return sides[0], sides[1]


def check_maps(owner: str, inputs: Sequence[torch.Tensor], in_channels: Sequence[int]) -> None:
    """Refuse other maps than were announced.

    Args:
        owner: The class to name in the error.
        inputs: What came in the place of maps ``(N, C_i, H_i, W_i)``.
        in_channels: C_i.

    Raises:
        ValueError: Naming the first that does not fit.
    """
    if not isinstance(inputs, (tuple, list)) or len(inputs) != len(in_channels):
        came = f'{len(inputs)} maps' if isinstance(inputs, (tuple, list)) else 'no sequence'
        raise ValueError(
            f'{owner}: {came} came, but in_channels={in_channels} announces {len(in_channels)}; '
            "set the backbone's out_indices, or in_channels and strides, accordingly"
        )
    for i, (x, channels) in enumerate(zip(inputs, in_channels, strict=True)):
        if x.ndim != 4 or x.shape[1] != channels:
            raise ValueError(
                f'{owner}: map {i} has the shape {tuple(x.shape)}, but (N, {channels}, H, W) is '
                'needed; set in_channels to what the backbone returns'
            )
