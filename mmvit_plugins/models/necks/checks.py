"""What necks refuse: wrong options, wrong numbers, other maps than were announced."""

from collections.abc import Sequence

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


def check_positive(owner: str, many: bool = False, **values: object) -> None:
    """Refuse what is no positive integer or, with ``many``, no sequence of them.

    Args:
        owner: The class to name in the error.
        many: Whether the values are sequences.
        values: Argument's name to its value.

    Raises:
        ValueError: For the first value that is not allowed.
    """
    what = 'positive integers' if many else 'a positive integer'
    for name, value in values.items():
        numbers = value if many else [value]
        good = isinstance(numbers, (list, tuple)) and numbers
        if not good or any(type(number) is not int or number < 1 for number in numbers):
            raise ValueError(f'{owner}: {name}={value!r} must be {what}')


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
