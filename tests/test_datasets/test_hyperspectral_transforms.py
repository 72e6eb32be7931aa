"""Transforms of windows: what they change, what they never touch, bad arguments."""

import numpy as np
import pytest

from mmvit_plugins.datasets import (
    HSIRandomFlipRotate,
    HSIRandomWindow,
    HSISpectralNoise,
)
from mmvit_plugins.errors import DataError
from mmvit_plugins.registry import TRANSFORMS

ALL = [
    HSIRandomFlipRotate(),
    HSISpectralNoise(prob=1, band_scale=0.1, band_sigma=0.1),
    HSIRandomWindow((3, 5)),
    HSIRandomWindow((3, 5), fill='edge'),
]


def window(size=7, channels=4):
    return np.random.default_rng(1).normal(1, 0.2, (size, size, channels)).astype(np.float32)


def draw(transform, img, times=200):
    """The windows that come out of many calls."""
    return [transform({'img': img})['img'] for _ in range(times)]


@pytest.mark.parametrize('transform', ALL, ids=repr)
def test_only_img_changes_and_the_same_seed_gives_the_same(transform):
    img = window()
    before = img.copy()
    results = {'img': img, 'gt_label': 2, 'coord': (3, 4), 'img_shape': (7, 7), 'sample_idx': 1}
    rest = {key: value for key, value in results.items() if key != 'img'}
    np.random.seed(4)
    out = transform(results)
    assert out is results and {key: out[key] for key in rest} == rest and len(out) == 5
    np.testing.assert_array_equal(img, before)  # the array that came in is not written to
    assert out['img'].shape == img.shape and out['img'].dtype == np.float32
    np.random.seed(4)
    np.testing.assert_array_equal(transform({'img': img})['img'], out['img'])
    assert any((made != img).any() for made in draw(transform, img, 20))


@pytest.mark.parametrize('transform', ALL, ids=repr)
def test_found_by_prefix_and_printed_with_arguments(transform):
    name = type(transform).__name__
    built = TRANSFORMS.build(dict(type=f'mmvit_plugins.{name}', **vars(transform)))
    assert type(built) is type(transform) and repr(built) == repr(transform)
    assert repr(HSIRandomWindow((3,))) == 'HSIRandomWindow(sizes=(3,), fill=0.0)'


def test_probability():
    img = window()
    assert all(made is img for made in draw(HSISpectralNoise(prob=0), img, 20))
    changed = sum(made is not img for made in draw(HSISpectralNoise(prob=0.3), img, 400))
    assert 80 < changed < 160


def test_flips_and_turns_give_all_eight_pictures():
    img = window(5)
    eight = [np.rot90(base, k) for base in (img, img[:, ::-1]) for k in range(4)]

    def which(made):
        matches = [i for i, other in enumerate(eight) if (made == other).all()]
        assert len(matches) == 1
        return matches[0]

    counts = np.bincount(list(map(which, draw(HSIRandomFlipRotate(), img, 800))), minlength=8)
    assert counts.min() > 60
    assert {which(made) for made in draw(HSIRandomFlipRotate(flip=False), img)} == {0, 1, 2, 3}
    assert {which(made) for made in draw(HSIRandomFlipRotate(rotate=False), img)} == {0, 2, 4, 6}
    for made in draw(HSIRandomFlipRotate(), img, 20):
        np.testing.assert_array_equal(made[2, 2], img[2, 2])


def test_turned_windows_become_tensors():
    """NumPy hides negative strides along sides of length 1, torch does not take them."""
    import torch

    for made in draw(HSIRandomFlipRotate(), window(1), 30):
        assert torch.from_numpy(made).shape == (1, 1, 4)


@pytest.mark.parametrize('shape', [(4, 4), (5, 3)])
def test_windows_that_cannot_be_turned(shape):
    with pytest.raises(DataError, match=f'a window of {shape[0]} x {shape[1]} pixels cannot'):
        HSIRandomFlipRotate()({'img': np.zeros((*shape, 2), np.float32)})


def test_spectral_noise():
    img = window(9)
    ratios = np.array(
        [made / img for made in draw(HSISpectralNoise(scale=(0.8, 1.3), sigma=0, prob=1), img)]
    )
    factors = ratios[:, 0, 0, 0]
    assert np.ptp(ratios, axis=(1, 2, 3)).max() < 1e-5
    assert 0.8 <= factors.min() < 0.82 and 1.28 < factors.max() <= 1.3

    noise = np.array(
        [made - img for made in draw(HSISpectralNoise(scale=(1, 1), sigma=0.04, prob=1), img)]
    )
    assert abs(noise.std() - 0.04) < 1e-3 and abs(noise.mean()) < 1e-3
    assert np.ptp(noise, axis=(1, 2)).min() > 0

    quiet = dict(scale=(1, 1), sigma=0, prob=1)
    offsets = np.array(
        [made - img for made in draw(HSISpectralNoise(**quiet, band_sigma=0.2), img)]
    )
    assert np.ptp(offsets, axis=(1, 2)).max() < 1e-5  # the same in all pixels
    assert abs(offsets[:, 0, 0].std() - 0.2) < 0.02 and np.ptp(offsets[0, 0, 0]) > 0
    scales = np.array([made / img for made in draw(HSISpectralNoise(**quiet, band_scale=0.2), img)])
    assert np.ptp(scales, axis=(1, 2)).max() < 1e-4
    assert abs(scales[:, 0, 0].std() - 0.2) < 0.02 and abs(scales.mean() - 1) < 0.02


@pytest.mark.parametrize('size', [6, 7])
def test_random_window_keeps_the_labelled_pixel_at_its_place(size):
    img = window(size)
    seen = set()
    for made in draw(HSIRandomWindow((1, 2, 3, size), fill=-5), img):
        kept = (made != -5).all(2)
        side = int(kept.sum() ** 0.5)
        seen.add(side)
        start = size // 2 - side // 2
        expected = np.zeros_like(kept)
        expected[start : start + side, start : start + side] = True
        np.testing.assert_array_equal(kept, expected)
        np.testing.assert_array_equal(made[kept], img[kept])
    assert seen == {1, 2, 3, size}


def test_random_window_filled_from_its_edge():
    img = window(7)
    made = HSIRandomWindow((3,), fill='edge')({'img': img})['img']
    np.testing.assert_array_equal(made, np.pad(img[2:5, 2:5], ((2, 2), (2, 2), (0, 0)), 'edge'))


def test_windows_that_are_too_small():
    with pytest.raises(DataError, match='size 9 does not fit into a window of 7 x 7 .* up to 7'):
        HSIRandomWindow()({'img': window(7)})


@pytest.mark.parametrize(
    ('make', 'arguments', 'words'),
    [
        (HSIRandomFlipRotate, dict(flip=False, rotate=False), 'both off'),
        (HSISpectralNoise, dict(scale=(1.1, 0.9)), r'scale is \(1.1, 0.9\)'),
        (HSISpectralNoise, dict(scale=(0, 1)), r'scale is \(0, 1\)'),
        (HSISpectralNoise, dict(scale=0.9), 'scale is 0.9'),
        (HSISpectralNoise, dict(sigma=-1), 'sigma is -1, give a number of at least 0'),
        (HSISpectralNoise, dict(band_sigma='x'), "band_sigma is 'x'"),
        (HSISpectralNoise, dict(band_scale=np.nan), 'band_scale is nan'),
        (HSISpectralNoise, dict(prob=True), 'prob is True'),
        (HSIRandomWindow, dict(fill=np.inf), 'fill is inf'),
        (HSISpectralNoise, dict(prob=1.5), 'prob is 1.5, give a number from 0 to 1'),
        (HSIRandomWindow, dict(sizes=()), r'sizes is \(\)'),
        (HSIRandomWindow, dict(sizes=(3, 0)), r'sizes is \(3, 0\)'),
        (HSIRandomWindow, dict(sizes=5), 'sizes is 5'),
        (HSIRandomWindow, dict(fill='mean'), "fill is 'mean', give a number, or 'edge'"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(make, arguments, words):
    with pytest.raises(ValueError, match=f'{make.__name__}: .*{words}'):
        make(**arguments)
