"""A generated hyperspectral scene: what demonstration and tests use in place of measured ones.

Nothing is downloaded and nothing imitates a certain sensor. Accuracy on it says that the parts
work together, not how well a network does on measured scenes.
"""

from numbers import Integral

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter
from scipy.spatial import cKDTree

from .labels import MAX_LABEL, label_type


def generate_scene(
    height: int = 80,
    width: int = 64,
    bands: int = 48,
    classes: int = 6,
    seed: int = 0,
    fields_per_class: int = 4,
    margin: int = 1,
    contrast: float = 0.02,
    noise: float = 0.02,
) -> tuple[np.ndarray, np.ndarray]:
    """Generate a scene of fields, like farmland seen from above, and the map of its classes.

    The fields are the cells of a Voronoi map. A field's spectrum is one all classes share, plus its
    class's own, plus half as much of the field's own; each is a sum of a few Gaussians over the
    bands. At borders the spectra of neighbours mix linearly, everywhere they mix with bare soil in
    shares that vary smoothly; then come brightness and noise, different for each pixel. The last
    class covers only a round core of each of its fields, so it is small; the rest of them is soil.

    The same arguments give the same scene.

    Args:
        height: Rows ``H``.
        width: Columns ``W``.
        bands: Bands ``B``, at least 2.
        classes: Number of classes ``K``, 1 to 65535.
        seed: Seed of all that is random.
        fields_per_class: Fields of each class. They never touch, so the components of the map are
            the fields.
        margin: Pixels along a field's border that stay unlabelled, at least 1.
        contrast: Root mean square of what sets a class apart from the spectrum all share, which
            lies about 0.4.
        noise: Standard deviation of the noise.

    Returns:
        The cube ``(H, W, B)``, float32, about 0 to 1, and the labels ``(H, W)`` of
        ``label_type``: 0 = unlabelled, 1 to K.

    Raises:
        ValueError: A number is out of range, or so many fields do not fit into the scene.
    """
    for name, number in (
        *(('height', height), ('width', width), ('bands', bands), ('classes', classes)),
        *(('seed', seed), ('fields_per_class', fields_per_class), ('margin', margin)),
    ):
        if not isinstance(number, Integral) or isinstance(number, bool):
            raise ValueError(f'{name} is {number!r}: give a whole number')
    if (
        min(height, width, classes, fields_per_class, margin) < 1
        or bands < 2
        or classes > MAX_LABEL
    ):
        raise ValueError(
            f'a generated scene of {height}x{width} pixels, {bands} bands and {classes} classes '
            f'with {fields_per_class} fields each and margin {margin} is not possible: give '
            f'positive numbers, at least 2 bands and at most {MAX_LABEL} classes'
        )
    rng = np.random.RandomState(seed)  # its stream is the same in every version of NumPy
    owner = rng.permutation(np.repeat(np.arange(1, classes + 1), fields_per_class))
    field, distance = _voronoi(rng, height, width, len(owner))
    # field number len(owner) is the soil round the cores of the last class
    core = np.sqrt(height * width / len(owner)) / 4
    field[(owner[field] == classes) & (distance > core)] = len(owner)
    owner = np.append(owner, 0)

    axis = np.linspace(0, 1, bands)
    own = contrast * _smooth_spectra(rng, classes + 1, axis)
    spectra = 0.4 + 0.1 * _smooth_spectra(rng, 1, axis) + own[owner]
    spectra += contrast / 2 * _smooth_spectra(rng, len(owner), axis)
    # blurring the spectra is mixing them with the blurred share of each field
    cube = gaussian_filter(spectra[field], (0.7, 0.7, 0), mode='nearest')
    share = 0.5 * _smooth_map(rng, height, width)
    cube += share * (spectra[-1] - cube)
    cube *= 0.85 + 0.3 * _smooth_map(rng, height, width) + 0.05 * rng.randn(height, width, 1)
    cube += noise * rng.randn(height, width, bands)

    size = 2 * margin + 1
    inside = maximum_filter(field, size) == minimum_filter(field, size)
    labels = np.where(inside, owner[field], 0).astype(label_type(classes))
    if len(np.unique(field[labels > 0])) < classes * fields_per_class:
        raise ValueError(
            f'{classes * fields_per_class} fields with margin {margin} do not fit into a scene of '
            f'{height}x{width} pixels: enlarge it, or lower classes, fields_per_class or margin'
        )
    return cube.astype(np.float32), labels


def _voronoi(
    rng: np.random.RandomState, height: int, width: int, cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's cell and its distance to the cell's point, both ``(H, W)``."""
    pixels = np.stack(np.mgrid[:height, :width], -1).reshape(-1, 2)
    points = rng.rand(cells, 2) * (height, width)
    for _ in range(4):  # each point to the middle of its cell: the cells get alike in size
        cell = cKDTree(points).query(pixels)[1]
        count = np.bincount(cell, minlength=cells)[:, None]
        total = np.stack([np.bincount(cell, axis, cells) for axis in pixels.T], -1)
        points = np.where(count > 0, total / np.maximum(count, 1), points)
    distance, cell = cKDTree(points).query(pixels)
    return cell.reshape(height, width), distance.reshape(height, width)


def _smooth_spectra(rng: np.random.RandomState, count: int, axis: np.ndarray) -> np.ndarray:
    """Return ``(count, B)`` spectra, each the sum of five Gaussians, root mean square 1."""
    centre = rng.rand(count, 5, 1)
    width = rng.uniform(0.04, 0.25, (count, 5, 1))
    height = rng.randn(count, 5, 1)
    spectra = (height * np.exp(-(((axis - centre) / width) ** 2) / 2)).sum(1)
    return spectra / np.sqrt((spectra**2).mean(1, keepdims=True))


def _smooth_map(rng: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """Return a map ``(H, W, 1)`` that varies smoothly between 0 and 1."""
    values = gaussian_filter(rng.randn(height, width), 8, mode='reflect')
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, np.finfo(float).tiny))[..., None]
