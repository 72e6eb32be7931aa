"""Transforms of windows for training: each changes ``img`` ``(w, w, C)`` and nothing else.

They follow the band transform, so numbers are in its units: after a whitening PCA, 1 is the
standard deviation of a channel. All draw from NumPy's global generator, as mmcv's transforms do.
The labelled pixel is ``(w // 2, w // 2)`` before and after each of them.
"""

from collections.abc import Sequence
from numbers import Real

import numpy as np

from ...errors import DataError
from ...registry import TRANSFORMS


class _WindowTransform:
    """What hands ``img`` to ``_change``, with a probability, and prints its arguments."""

    prob: float = 1.0

    def __call__(self, results: dict) -> dict:
        """Return ``results`` with another ``img`` or as they came."""
        if self.prob >= 1 or np.random.rand() < self.prob:
            results['img'] = self._change(results['img'])
        return results

    def _change(self, img: np.ndarray) -> np.ndarray:
        """Return a changed copy of ``(w, w, C)``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        arguments = ', '.join(f'{name}={value!r}' for name, value in vars(self).items())
        return f'{type(self).__name__}({arguments})'


@TRANSFORMS.register_module()
class HSIRandomFlipRotate(_WindowTransform):
    """Mirror and turn the window by quarters: scenes seen from above have no up.

    With both on, the eight results are equally likely.

    Args:
        flip: Mirror left and right with probability 0.5, and so up and down.
        rotate: Turn by 0, 1, 2 or 3 quarters.

    Raises:
        ValueError: Both are off.
        DataError: On a call, the window is not square, or its side is even: its labelled pixel,
            just after the centre, would move.
    """

    def __init__(self, flip: bool = True, rotate: bool = True) -> None:
        if not flip and not rotate:
            raise ValueError(
                'HSIRandomFlipRotate: flip and rotate are both off, set one or leave it out'
            )
        self.flip = flip
        self.rotate = rotate

    def _change(self, img: np.ndarray) -> np.ndarray:
        height, width = img.shape[:2]
        if height != width or height % 2 == 0:
            raise DataError(
                f'HSIRandomFlipRotate: a window of {height} x {width} pixels cannot be turned with '
                'its labelled pixel in place: set window_size to an odd number, or leave the '
                'transform out'
            )
        if self.flip:
            step = 1 - 2 * np.random.randint(2, size=2)
            img = img[:: step[0], :: step[1]]
        if self.rotate:
            quarters = np.random.randint(4)  # numpy.rot90 is slower than the rest of the item
            if quarters % 2:
                img = img.transpose(1, 0, 2)[::-1]
            if quarters > 1:
                img = img[::-1, ::-1]
        return img.copy()  # torch takes no negative strides


@TRANSFORMS.register_module()
class HSISpectralNoise(_WindowTransform):
    """Change brightness and add noise, as another day or sensor would.

    The defaults of ``scale`` and ``sigma`` are those of DeepHyperX's "radiation noise".

    Args:
        scale: Range of one random factor for the whole window.
        sigma: Standard deviation of noise drawn for every value.
        prob: Probability that a window is changed.
        band_scale: Standard deviation, round 1, of a factor drawn for each channel.
        band_sigma: Standard deviation of an offset drawn for each channel; both are the same in
            all pixels of the window.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        scale: Sequence[float] = (0.9, 1.1),
        sigma: float = 0.04,
        prob: float = 0.5,
        band_scale: float = 0.0,
        band_sigma: float = 0.0,
    ) -> None:
        numbers = isinstance(scale, Sequence) and all(isinstance(x, Real) for x in scale)
        if not numbers or len(scale) != 2 or not 0 < scale[0] <= scale[1]:
            raise ValueError(
                f'HSISpectralNoise: scale is {scale!r}, give the smallest and the largest factor, '
                'both above 0, such as (0.9, 1.1)'
            )
        for name, value in (
            ('sigma', sigma),
            ('band_scale', band_scale),
            ('band_sigma', band_sigma),
        ):
            _check_number('HSISpectralNoise', name, value, np.inf)
        _check_number('HSISpectralNoise', 'prob', prob)
        self.scale = tuple(scale)
        self.sigma = sigma
        self.prob = prob
        self.band_scale = band_scale
        self.band_sigma = band_sigma

    def _change(self, img: np.ndarray) -> np.ndarray:
        channels = img.shape[2]
        factor = np.random.uniform(*self.scale)
        if self.band_scale:
            factor = factor * np.random.normal(1, self.band_scale, channels)
        img = img * np.asarray(factor, np.float32)
        if self.sigma:
            img += np.random.normal(0, self.sigma, img.shape).astype(np.float32)
        if self.band_sigma:
            img += np.random.normal(0, self.band_sigma, channels).astype(np.float32)
        return img


@TRANSFORMS.register_module()
class HSIRandomWindow(_WindowTransform):
    """Keep a smaller window of random size round the labelled pixel; the shape stays.

    Args:
        sizes: Sides to choose from, equally likely; none larger than the window.
        fill: What the rest becomes: a number, or ``'edge'`` for the nearest pixel kept.

    Raises:
        ValueError: An argument is out of range.
        DataError: On a call, a size is larger than the window.
    """

    def __init__(self, sizes: Sequence[int] = (3, 5, 7, 9), fill: float | str = 0.0) -> None:
        if not isinstance(sizes, Sequence) or not sizes or not all(map(_is_size, sizes)):
            raise ValueError(
                f'HSIRandomWindow: sizes is {sizes!r}, give whole numbers from 1 on, such as (3, 5)'
            )
        number = isinstance(fill, Real) and not isinstance(fill, bool) and np.isfinite(fill)
        if fill != 'edge' and not number:
            raise ValueError(f"HSIRandomWindow: fill is {fill!r}, give a number, or 'edge'")
        self.sizes = tuple(sizes)
        self.fill = fill

    def _change(self, img: np.ndarray) -> np.ndarray:
        window = min(img.shape[:2])
        if max(self.sizes) > window:
            raise DataError(
                f'HSIRandomWindow: size {max(self.sizes)} does not fit into a window of '
                f'{img.shape[0]} x {img.shape[1]} pixels: take sizes up to {window}'
            )
        size = self.sizes[np.random.randint(len(self.sizes))]
        rows, cols = (
            slice(side // 2 - size // 2, side // 2 - size // 2 + size) for side in img.shape[:2]
        )
        if self.fill == 'edge':
            near = [
                np.clip(np.arange(side), kept.start, kept.stop - 1)
                for side, kept in zip(img.shape, (rows, cols), strict=False)
            ]
            return img[np.ix_(*near)]
        out = np.full_like(img, self.fill)
        out[rows, cols] = img[rows, cols]
        return out


def _is_size(value: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _check_number(owner: str, name: str, value: float, most: float = 1) -> None:
    """Refuse what is no number from 0 to ``most``."""
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value <= most:
        allowed = 'from 0 to 1' if most == 1 else 'of at least 0'
        raise ValueError(f'{owner}: {name} is {value!r}, give a number {allowed}')
