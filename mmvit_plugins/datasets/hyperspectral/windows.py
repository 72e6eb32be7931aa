"""Windows round pixels: padding a scene once, and views of its windows that copy nothing."""

from numbers import Real

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from ...errors import DataError

PAD_MODES = ('constant', 'edge', 'reflect', 'symmetric')


def margins(window_size: int) -> tuple[int, int]:
    """Return how many pixels a window reaches before and after its labelled pixel.

    The labelled pixel is ``(w // 2, w // 2)``: the centre of an odd window, and of an even one the
    pixel just after the centre.
    """
    return window_size // 2, window_size - 1 - window_size // 2


def check_window(window_size: int, height: int | None = None, width: int | None = None) -> None:
    """Refuse a window that is no whole number, or that is larger than the scene, where it is known.

    Raises:
        DataError: Names the window, the scene and what is allowed.
    """
    if isinstance(window_size, bool) or not isinstance(window_size, int) or window_size < 1:
        raise DataError(
            f'window_size is {window_size!r}: give a whole number of pixels from 1 on, such as 9'
        )
    if height is not None and width is not None and window_size > min(height, width):
        raise DataError(
            f'a window of {window_size} x {window_size} pixels is larger than the scene of '
            f'{height} x {width}: set window_size to at most {min(height, width)}'
        )


def pad_scene(
    array: np.ndarray, window_size: int, mode: str = 'constant', value: float = 0.0
) -> np.ndarray:
    """Pad a scene so that every pixel has a whole window.

    The window of pixel ``(row, col)`` is ``padded[row : row + w, col : col + w]``.

    Args:
        array: ``(H, W)`` or ``(H, W, C)``.
        window_size: Side ``w`` of the windows in pixels.
        mode: ``'constant'``, ``'edge'``, ``'reflect'`` (the border pixel once) or ``'symmetric'``
            (the border pixel twice), as in ``numpy.pad``.
        value: What ``'constant'`` pads with.

    Returns:
        ``(H + w - 1, W + w - 1)`` or ``(H + w - 1, W + w - 1, C)``, a copy.

    Raises:
        DataError: The window is no whole number or larger than the scene, or mode or
            value are none.
    """
    if mode not in PAD_MODES:
        raise DataError(f'pad_mode is {mode!r}: give one of {", ".join(map(repr, PAD_MODES))}')
    if isinstance(value, bool) or not isinstance(value, Real) or not np.isfinite(value):
        raise DataError(f'pad_value is {value!r}: give a number, such as 0.0')
    _check_array(array)
    check_window(window_size, *array.shape[:2])
    before_after = margins(window_size)
    widths = (before_after, before_after, *[(0, 0)] * (array.ndim - 2))
    constant = {'constant_values': value} if mode == 'constant' else {}
    return np.pad(array, widths, mode=mode, **constant)


def windows_of(padded: np.ndarray, window_size: int) -> np.ndarray:
    """View a padded scene as its windows; nothing is copied.

    Args:
        padded: ``(H + w - 1, W + w - 1, C)``, see ``pad_scene``.
        window_size: Side ``w`` of the windows.

    Returns:
        ``(H, W, C, w, w)``, read-only; indexed with rows and columns it gives ``(n, C, w, w)``.

    Raises:
        DataError: It is no array, or the window is none or larger.
    """
    _check_array(padded)
    check_window(window_size, *padded.shape[:2])
    return sliding_window_view(padded, (window_size, window_size), axis=(0, 1))


def _check_array(array: np.ndarray) -> None:
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3):
        shape = getattr(array, 'shape', None)
        what = type(array).__name__ if shape is None else f'of shape {shape}'
        raise DataError(f'a scene is an array (H, W) or (H, W, C), this is {what}')


def inside_windows(mask: np.ndarray, window_size: int) -> np.ndarray:
    """Return which pixels lie inside the window of any pixel of ``mask``, ``(H, W)`` bool."""
    # Seen from a covered pixel the labelled one lies at the mirrored place: even sizes are shifted.
    return _spread(mask, window_size, window_size % 2 - 1)


def holding_windows(mask: np.ndarray, window_size: int) -> np.ndarray:
    """Return whose windows hold any pixel of ``mask``, ``(H, W)`` bool."""
    return _spread(mask, window_size, 0)


def _spread(mask: np.ndarray, size: int, origin: int) -> np.ndarray:
    found = ndimage.maximum_filter(
        mask.view(np.uint8), size, mode='constant', origin=(origin, origin)
    )
    return found.view(bool)
