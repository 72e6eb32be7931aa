"""Band transforms: from spectra to the channels that a network sees, fitted on stated pixels.

Everything is computed in float64 and in chunks, so that a part of a scene gets the same values as
the whole. The state of a fitted transform is plain Python data: it travels with the checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from mmengine.registry import Registry

from ...errors import DataError

# names in ``band_transform``; those of projections.py register here too
BAND_TRANSFORMS = Registry('band transform')
CHUNK = 2**22  # values that are worked on at once, 32 MB in float64


class BandTransform:
    """What turns spectra ``(..., B)`` into channels ``(..., C)`` once it has been fitted.

    A subclass names its fitted arrays and says how they come about and are used.

    Attributes:
        in_bands: ``B``, ``None`` before ``fit``.
        out_bands: ``C``, ``None`` before ``fit``.
    """

    arrays: tuple[str, ...] = ()
    in_bands: int | None = None
    out_bands: int | None = None

    def fit(self, pixels: np.ndarray, labels: np.ndarray | None = None) -> 'BandTransform':
        """Fit to spectra ``(n, B)`` and return itself.

        Args:
            pixels: The spectra.
            labels: ``(n,)``, the class of each, 0 where it is not known or must not be used. Only
                ``LDA`` looks at them.

        Raises:
            DataError: There is no pixel, some are not finite, or what the transform needs is
                missing.
        """
        pixels = self._numbers(pixels)
        if pixels.ndim != 2 or not pixels.size:
            raise DataError(
                f'{type(self).__name__} is fitted to spectra (n, B), but got an array of shape '
                f'{pixels.shape}: give at least one pixel and one band'
            )
        if not all(np.isfinite(part).all() for part in chunks(pixels)):
            raise DataError(
                f'{type(self).__name__} cannot be fitted: some pixels hold NaN or inf; load the '
                'scene with load_scene, which sets them to 0 and takes their labels away'
            )
        self._fit(pixels, labels)
        self._set_bands(pixels.shape[1])
        return self

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Transform spectra.

        Args:
            array: ``(..., B)`` of any number type.

        Returns:
            ``(..., C)`` float32.

        Raises:
            DataError: The number of bands is another than in ``fit``.
            ValueError: It has not been fitted yet.
        """
        if self.in_bands is None:
            raise ValueError(f'{type(self).__name__} is not fitted yet: call fit')
        array = self._numbers(array)
        if array.shape[-1] != self.in_bands:
            raise DataError(
                f'the cube has {array.shape[-1]} bands, but the band transform was fitted to '
                f'{self.in_bands}: give the bands of the training scene, with bands or drop_bands '
                'where the file holds more'
            )
        flat = array.reshape(-1, self.in_bands)
        out = np.empty((len(flat), self.out_bands), np.float32)
        start = 0
        for part in chunks(flat):
            out[start : start + len(part)] = self._apply(part)
            start += len(part)
        return out.reshape(*array.shape[:-1], self.out_bands)

    def _numbers(self, array: np.ndarray) -> np.ndarray:
        if not isinstance(array, np.ndarray) or array.dtype.kind not in 'biuf' or not array.ndim:
            kind = getattr(array, 'dtype', type(array).__name__)
            raise DataError(
                f'{type(self).__name__} takes an array of real numbers (..., B), not {kind}'
            )
        return array

    def state_dict(self) -> dict:
        """Return type, arguments and fitted arrays as Python lists, numbers and strings."""
        state = {'type': type(self).__name__, **self._arguments(), 'in_bands': self.in_bands}
        return state | {name: getattr(self, name).tolist() for name in self.arrays}

    def _arguments(self) -> dict:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _set_bands(self, bands: int) -> None:
        self.in_bands = self.out_bands = bands

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        """Set the fitted arrays from ``(n, B)`` and, where it needs them, labels ``(n,)``."""

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        """Transform ``(n, B)`` float64 to ``(n, C)``."""
        raise NotImplementedError


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class Identity(BandTransform):
    """Leave the spectra as they are."""

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        return pixels


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class Standardize(BandTransform):
    """Give every band mean 0 and standard deviation 1 over the fitting pixels.

    A band that is the same in all of them becomes 0.
    """

    arrays = ('mean', 'std')

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        self.mean = mean_of(pixels)
        squares = sum(np.square(part - self.mean).sum(0) for part in chunks(pixels))
        self.std = np.sqrt(squares / len(pixels))

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels - self.mean) / np.where(self.std > 0, self.std, 1)


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class MinMax(BandTransform):
    """Bring the spectra of the fitting pixels into 0..1; other pixels may leave that range.

    Args:
        per_band: Each band by its own smallest and largest value, else all by one pair, which
            keeps the shape of the spectra.
    """

    arrays = ('low', 'high')

    per_band: bool = True

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        low: np.ndarray = np.asarray(pixels.min(0), np.float64)
        high: np.ndarray = np.asarray(pixels.max(0), np.float64)
        self.low, self.high = (
            (low, high)
            if self.per_band
            else (np.full_like(low, low.min()), np.full_like(high, high.max()))
        )

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        span = self.high - self.low
        return (pixels - self.low) / np.where(span > 0, span, 1)


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class SNV(BandTransform):
    """Give every spectrum mean 0 and standard deviation 1 over its bands (standard normal variate).

    Takes brightness away, which differs with slope and shade, and keeps the shape; nothing is
    fitted. A spectrum that is the same in all bands becomes 0. Source: Barnes et al., Applied
    Spectroscopy 43(5), 1989.
    """

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        std = pixels.std(1, keepdims=True)
        return (pixels - pixels.mean(1, keepdims=True)) / np.where(std > 0, std, 1)


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class Chain(BandTransform):
    """Transforms one after the other; what a list of configurations becomes.

    Args:
        transforms: Band transforms, or configurations for ``build_band_transform``.
    """

    transforms: Sequence[Mapping | BandTransform]

    def __post_init__(self) -> None:
        self.transforms = [
            given if isinstance(given, BandTransform) else build_band_transform(given)
            for given in self.transforms
        ]
        if not self.transforms:
            raise ValueError('Chain: the list of band transforms is empty')

    def state_dict(self) -> dict:
        """Return the states of all transforms; see the base class."""
        return {
            'type': type(self).__name__,
            'in_bands': self.in_bands,
            'transforms': [transform.state_dict() for transform in self.transforms],
        }

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        for transform in self.transforms:
            pixels = transform.fit(pixels, labels)(pixels)

    def _set_bands(self, bands: int) -> None:
        self.in_bands, self.out_bands = bands, self.transforms[-1].out_bands

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        for transform in self.transforms:
            pixels = transform._apply(pixels)
        return pixels


def build_band_transform(cfg: Mapping | Sequence[Mapping]) -> BandTransform:
    """Build a band transform that is still to be fitted.

    Args:
        cfg: ``dict(type='PCA', n_components=36)`` or another of this module by ``type`` with its
            arguments, or a list of such, applied in order.

    Raises:
        ValueError: The type or an argument is unknown, missing or out of range.
    """
    if isinstance(cfg, list | tuple):
        return Chain(cfg)
    cls = _find(cfg, 'band_transform')
    arguments = {name: value for name, value in cfg.items() if name != 'type'}
    try:
        return cls(**arguments)
    except TypeError as error:
        known = [field.name for field in fields(cls)]
        raise ValueError(
            f'band_transform {cls.__name__} cannot be built ({error}): its arguments are {known}'
        ) from error


def _find(cfg: Mapping, what: str) -> type[BandTransform]:
    known = BAND_TRANSFORMS.module_dict
    if not isinstance(cfg, Mapping) or cfg.get('type') not in known:
        raise ValueError(
            f'{what} is {cfg!r}: give a dict (or a list of dicts) whose type is one of '
            f'{", ".join(known)}'
        )
    return known[cfg['type']]


def restore_band_transform(state: Mapping) -> BandTransform:
    """Build a fitted band transform from what ``state_dict`` returned, as a checkpoint holds it.

    Raises:
        ValueError: The state is of no band transform or not complete.
    """
    cls = _find(state, 'the state of a band transform')
    names = [field.name for field in fields(cls)]
    missing = sorted({'in_bands', *names, *cls.arrays} - state.keys())
    if missing:
        raise ValueError(
            f'the state of a {cls.__name__} lacks {missing}: give what state_dict of a fitted '
            'transform returned'
        )
    arguments = {name: state[name] for name in names}
    if cls is Chain:
        arguments['transforms'] = [restore_band_transform(part) for part in state['transforms']]
    transform = cls(**arguments)
    for name in cls.arrays:
        setattr(transform, name, np.array(state[name], np.float64))
    transform._set_bands(state['in_bands'])
    return transform


def chunks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Yield ``(n, B)`` in float64, some pixels at a time."""
    rows = max(1, CHUNK // pixels.shape[1])
    for start in range(0, len(pixels), rows):
        yield pixels[start : start + rows].astype(np.float64)


def mean_of(pixels: np.ndarray) -> np.ndarray:
    """Return the mean spectrum ``(B,)`` of ``(n, B)``."""
    return sum(part.sum(0) for part in chunks(pixels)) / len(pixels)
