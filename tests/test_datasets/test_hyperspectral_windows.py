"""Windows: contents pixel by pixel for every way of padding, and bad input."""

import numpy as np
import pytest

from mmvit_plugins.datasets.hyperspectral import pad_scene, windows_of
from mmvit_plugins.datasets.hyperspectral.windows import inside_windows, margins
from mmvit_plugins.errors import DataError

SCENE = np.arange(6 * 7 * 2, dtype=np.float32).reshape(6, 7, 2)

WHERE = {  # the pixel that is seen at a place outside of 0 .. n - 1
    'edge': lambda i, n: min(max(i, 0), n - 1),
    'reflect': lambda i, n: -i if i < 0 else 2 * (n - 1) - i,
    'symmetric': lambda i, n: -i - 1 if i < 0 else 2 * n - 1 - i,
}


def seen(row, col, mode, value):
    if 0 <= row < 6 and 0 <= col < 7:
        return SCENE[row, col]
    if mode == 'constant':
        return [value, value]
    row, col = (i if 0 <= i < n else WHERE[mode](i, n) for i, n in ((row, 6), (col, 7)))
    return SCENE[row, col]


@pytest.mark.parametrize('size', [1, 2, 5, 6])
@pytest.mark.parametrize('mode', ['constant', *WHERE])
def test_every_pixel_of_every_window(mode, size):
    padded = pad_scene(SCENE, size, mode, value=-3)
    windows = windows_of(padded, size)
    assert windows.shape == (6, 7, 2, size, size) and np.shares_memory(windows, padded)
    for row, col, i, j in np.ndindex(6, 7, size, size):
        expected = seen(row + i - size // 2, col + j - size // 2, mode, -3)
        np.testing.assert_array_equal(windows[row, col, :, i, j], expected)
        np.testing.assert_array_equal(padded[row : row + size, col : col + size][i, j], expected)
    np.testing.assert_array_equal(windows[..., size // 2, size // 2], SCENE)
    assert sum(margins(size)) == size - 1


def test_label_maps_are_padded_too():
    padded = pad_scene(SCENE[..., 0].astype(np.uint8), 4)
    assert padded.shape == (9, 10) and padded.dtype == np.uint8
    np.testing.assert_array_equal(padded[2:8, 2:9], SCENE[..., 0])


@pytest.mark.parametrize('size', range(1, 7))
def test_pixels_inside_windows(size):
    rng = np.random.default_rng(size)
    mask = rng.random((15, 12)) < 0.04
    mask[0, 0] = mask[14, 11] = True
    before, after = margins(size)
    expected = np.zeros_like(mask)
    for row, col in np.argwhere(mask):
        expected[max(row - before, 0) : row + after + 1, max(col - before, 0) : col + after + 1] = 1
    np.testing.assert_array_equal(inside_windows(mask, size), expected)


@pytest.mark.parametrize('size', [0, -1, 9.0, True, '9', None], ids=repr)
def test_windows_that_are_none(size):
    with pytest.raises(DataError, match=f'window_size is {size!r}: give a whole number'):
        pad_scene(SCENE, size)


@pytest.mark.parametrize('mode', ['constant', *WHERE])
def test_windows_larger_than_the_scene(mode):
    """Reflection included, which would need more pixels than there are."""
    with pytest.raises(DataError, match='7 x 7 pixels is larger than the scene of 6 x 7: .* 6'):
        pad_scene(SCENE, 7, mode)
    with pytest.raises(DataError, match='2 x 2 .* 1 x 1'):
        pad_scene(SCENE[:1, :1], 2, mode)
    assert pad_scene(SCENE[:1, :1], 1, mode).shape == (1, 1, 2)


def test_padding_that_is_none():
    with pytest.raises(DataError, match="pad_mode is 'wrap': give one of 'constant', 'edge'"):
        pad_scene(SCENE, 3, 'wrap')
    for value in (np.nan, 'zero', None):
        with pytest.raises(DataError, match=f'pad_value is {value!r}: give a number'):
            pad_scene(SCENE, 3, value=value)
