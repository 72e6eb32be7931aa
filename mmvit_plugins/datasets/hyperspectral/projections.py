"""Band transforms that project spectra on few directions: PCA and LDA."""

import logging
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log

from ...errors import DataError
from .bands import BAND_TRANSFORMS, BandTransform, chunks, mean_of


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class PCA(BandTransform):
    """Project on the directions of largest variance of the fitting pixels.

    From the covariance matrix (``n - 1`` in the denominator), so equal to scikit-learn's PCA up to
    signs; here the loading of largest magnitude of every component is positive.

    Args:
        n_components: Channels ``C``; at most the number of bands, and less than the number of
            fitting pixels.
        whiten: Divide each component by its standard deviation over the fitting pixels.

    Attributes:
        mean: ``(B,)``.
        components: ``(C, B)``, orthonormal rows.
        variance: ``(C,)``, descending.
    """

    arrays = ('mean', 'components', 'variance')

    n_components: int
    whiten: bool = True

    def __post_init__(self) -> None:
        _check_components('PCA', self.n_components)

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        count, bands = pixels.shape
        if self.n_components > bands:
            raise DataError(
                f'PCA to {self.n_components} components needs as many bands, but the cube has '
                f'{bands}: set n_components to {bands} or less'
            )
        if count < self.n_components + 1:
            raise DataError(
                f'PCA to {self.n_components} components needs at least {self.n_components + 1} '
                f'fitting pixels, but there are {count}: lower n_components, train on more pixels '
                "or set fit_on='train_window' or 'scene'"
            )
        if count < 10 * self.n_components:
            print_log(
                f'PCA to {self.n_components} components is fitted to {count} pixels only: fewer '
                'than ten for each component, the small ones will not hold for other pixels',
                'current',
                logging.WARNING,
            )
        self.mean = mean_of(pixels)
        scatter = 0
        for part in chunks(pixels):
            part -= self.mean
            scatter = scatter + part.T @ part
        variance, directions = np.linalg.eigh(scatter / (count - 1))
        order = np.arange(bands - 1, bands - 1 - self.n_components, -1)  # eigh ascends
        self.variance = np.maximum(variance[order], 0)
        self.components = _with_signs(directions[:, order].T)

    def _set_bands(self, bands: int) -> None:
        self.in_bands, self.out_bands = bands, self.n_components

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        projected = (pixels - self.mean) @ self.components.T
        if not self.whiten:
            return projected
        # Directions without variance hold rounding noise, which must not be blown up.
        floor = 1e-12 * self.variance[0] or 1.0
        return projected / np.sqrt(np.maximum(self.variance, floor))


@BAND_TRANSFORMS.register_module()
@dataclass(eq=False)
class LDA(BandTransform):
    """Project on the directions that tell the classes of the training pixels apart.

    Fisher's linear discriminants, by scikit-learn with shrinkage (Ledoit and Wolf): in their units
    the classes scatter alike in every direction, so what varies within a class is not blown up, as
    whitening would do. Uses the labels of training pixels, never of others.

    Args:
        n_components: Channels ``C``; less than the number of classes.

    Attributes:
        mean: ``(B,)``, over the training pixels.
        components: ``(C, B)``; the largest loading of each is positive.
    """

    arrays = ('mean', 'components')

    n_components: int

    def __post_init__(self) -> None:
        _check_components('LDA', self.n_components)

    def _fit(self, pixels: np.ndarray, labels: np.ndarray | None) -> None:
        known = np.zeros(len(pixels), bool) if labels is None else labels > 0
        classes = len(np.unique(labels[known])) if known.any() else 0
        if self.n_components > min(classes - 1, pixels.shape[1]):
            raise DataError(
                f'LDA to {self.n_components} components needs that many bands and one class more '
                f'with training pixels, but there are {pixels.shape[1]} bands and {classes} such '
                f'classes: set n_components to {max(min(classes - 1, pixels.shape[1]), 0)} or less'
            )
        try:
            from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
        except ImportError as error:
            raise ImportError(
                'the band transform LDA needs scikit-learn, which is not installed: pip install '
                'scikit-learn, or take PCA'
            ) from error
        chosen = pixels[known].astype(np.float64)
        self.mean = chosen.mean(0)
        scale = np.maximum(chosen.std(0), 1e-12)  # shrinking wants bands of like size
        fitted = LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto')
        fitted.fit((chosen - self.mean) / scale, labels[known])
        directions = fitted.scalings_[:, : self.n_components] / scale[:, None]
        self.components = _with_signs(directions.T)

    def _set_bands(self, bands: int) -> None:
        self.in_bands, self.out_bands = bands, self.n_components

    def _apply(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels - self.mean) @ self.components.T


def _check_components(owner: str, number: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f'{owner}: n_components is {number!r}, give a whole number from 1 on')


def _with_signs(components: np.ndarray) -> np.ndarray:
    """Turn each row such that its entry of largest magnitude is positive."""
    largest = np.abs(components).argmax(1, keepdims=True)
    return components * np.sign(np.take_along_axis(components, largest, 1))
