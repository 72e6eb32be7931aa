"""The generated scene: what it promises of fields, classes, mixing and noise."""

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, distance_transform_cdt, label

from mmvit_plugins.datasets.hyperspectral import SCENES
from mmvit_plugins.datasets.hyperspectral.synthetic import generate_scene

TOUCHING = np.ones((3, 3))  # fields that meet at a corner are one


@pytest.fixture(scope='module')
def scene():
    return generate_scene()


def fields_of(labels, number):
    return label(labels == number, TOUCHING)[1]


def test_is_what_its_row_says(scene):
    cube, labels = scene
    info = SCENES['synthetic']
    assert cube.shape == info.shape
    assert cube.dtype == np.float32
    assert labels.shape == info.shape[:2]
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(len(info.classes) + 1))
    assert 0 < cube.min() < 0.3 < cube.mean() < 0.5 < cube.max() < 1


def test_classes_have_separate_fields_and_the_last_is_small(scene):
    labels = scene[1]
    assert [fields_of(labels, number) for number in range(1, 7)] == [4] * 6
    assert label(labels > 0, TOUCHING)[1] == 24, 'no field touches another'
    counts = np.bincount(labels.ravel())
    assert 40 < counts[6] < counts[1:6].min() / 4
    assert counts[0] > 0.2 * labels.size


@pytest.mark.parametrize('margin', [1, 2])
def test_margin_keeps_fields_apart(margin):
    labels = generate_scene(margin=margin, fields_per_class=2)[1]
    numbers = label(labels > 0, TOUCHING)[0]
    for number in range(1, numbers.max() + 1):
        away = distance_transform_cdt(numbers != number, 'chessboard')
        assert away[(numbers > 0) & (numbers != number)].min() > 2 * margin


def test_seed_decides_and_the_global_generator_does_not(scene):
    np.random.seed(99)
    state = np.random.get_state()[1].copy()
    again = generate_scene()
    assert (np.random.get_state()[1] == state).all()
    for first, second, other in zip(scene, again, generate_scene(seed=1), strict=True):
        assert np.array_equal(first, second)
        assert not np.array_equal(first, other)
    # the configs' results rest on this very scene
    assert np.bincount(scene[1].ravel()).tolist() == [1967, 612, 711, 544, 668, 552, 66]
    assert scene[0].astype(float).mean() == pytest.approx(0.37093, abs=1e-5)


def nearest_mean(cube, labels, train, test):
    cube = cube / np.linalg.norm(cube, axis=2, keepdims=True)  # whatever the brightness
    means = np.stack([cube[train & (labels == number)].mean(0) for number in range(1, 7)])
    found = ((cube[test][:, None] - means) ** 2).sum(-1).argmin(1) + 1
    return (found == labels[test]).mean()


def test_single_spectra_tell_classes_apart_only_in_part(scene):
    """And a mean over neighbours, which evens out the noise, tells more."""
    cube, labels = (array.astype(float) for array in scene)
    chosen = np.random.RandomState(0).rand(*labels.shape) < 0.5
    train, test = (labels > 0) & chosen, (labels > 0) & ~chosen
    single = nearest_mean(cube, labels, train, test)
    height, width = labels.shape
    padded = np.pad(cube, ((1, 1), (1, 1), (0, 0)), 'edge')
    around = sum(padded[r : r + height, c : c + width] for r in range(3) for c in range(3)) / 9
    assert 0.35 < single < 0.9, 'chance is about 0.2'
    assert nearest_mean(around, labels, train, test) > single + 0.05


def test_contrast_and_noise_do_what_they_say():
    flat, labels = generate_scene(contrast=0, noise=0)
    rough, same = generate_scene(contrast=0, noise=0.1)
    assert np.array_equal(labels, same)
    assert (rough - flat).std() == pytest.approx(0.1, rel=0.01)
    # without contrast all pixels have one spectrum, times a brightness
    spectra = flat.reshape(-1, flat.shape[2]).astype(float)
    directions = spectra / np.linalg.norm(spectra, axis=1, keepdims=True)
    np.testing.assert_allclose(directions, directions[:1].repeat(len(directions), 0), atol=1e-6)
    assert spectra.mean(1).std() > 0.01


def test_spectra_mix_linearly_with_soil_and_at_borders():
    cube, labels = generate_scene(50, 50, 40, 3, fields_per_class=1, contrast=0.3, noise=0)

    def rank(pixels):
        values = np.linalg.svd(pixels.astype(float), compute_uv=False)
        return (values > 1e-4 * values[0]).sum()

    assert rank(cube.reshape(-1, 40)) == 4, 'three fields and the soil'
    field = labels == 1
    inner = binary_erosion(field, TOUCHING, 3)
    assert rank(cube[inner]) == 2, 'far from the border a field and the soil'
    assert rank(cube[field & ~inner]) == 3, 'at the border the neighbour too'


@pytest.mark.parametrize(
    'changes',
    [dict(height=17, width=15, bands=2), dict(height=61, width=64), dict(classes=16, bands=200)],
    ids=str,
)
def test_other_sizes(changes):
    options = dict(height=80, width=64, bands=5, classes=3, fields_per_class=1)
    options.update(changes)
    cube, labels = generate_scene(**options)
    assert cube.shape == (options['height'], options['width'], options['bands'])
    assert np.isfinite(cube).all()
    assert set(np.unique(labels[labels > 0])) == set(range(1, options['classes'] + 1))


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(height=0), '0x64 pixels'),
        (dict(bands=1), '1 bands'),
        (dict(classes=65536), '65536 classes'),
        (dict(margin=0), 'margin 0'),
        (dict(height=12, width=12), '24 fields with margin 1 do not fit into a scene of 12x12'),
        (dict(height=1, width=1, classes=1, fields_per_class=2), 'do not fit'),
    ],
)
def test_what_is_not_possible_is_said(changes, said):
    with pytest.raises(ValueError, match=said):
        generate_scene(**changes)
