"""Band transforms: against scikit-learn and by hand, states that travel, bad input."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn.decomposition import PCA as ReferencePCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from mmvit_plugins.datasets.hyperspectral import (
    bands,
    build_band_transform,
    projections,
    restore_band_transform,
)
from mmvit_plugins.errors import DataError

CONFIGS = [
    dict(type='PCA', n_components=4),
    dict(type='PCA', n_components=4, whiten=False),
    dict(type='Standardize'),
    dict(type='MinMax'),
    dict(type='MinMax', per_band=False),
    dict(type='Identity'),
    [dict(type='Standardize'), dict(type='PCA', n_components=3)],
    dict(type='SNV'),
    [dict(type='SNV'), dict(type='MinMax'), dict(type='Identity')],
]


@pytest.fixture
def spectra():
    """200 spectra of 7 correlated bands, as float32 as scenes are."""
    rng = np.random.default_rng(3)
    return (rng.normal(size=(200, 7)) @ rng.normal(size=(7, 7)) + 50).astype(np.float32)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Sums must go over several chunks, the last of them not full."""
    monkeypatch.setattr(bands, 'CHUNK', 7 * 64)


@pytest.mark.parametrize('whiten', [True, False])
def test_pca_is_that_of_scikit_learn_up_to_signs(spectra, whiten):
    mine = build_band_transform(dict(type='PCA', n_components=5, whiten=whiten)).fit(spectra)
    reference = ReferencePCA(5, whiten=whiten, svd_solver='full').fit(spectra.astype(float))
    sign = np.sign((reference.components_ * mine.components).sum(1))
    np.testing.assert_allclose(mine.components, reference.components_ * sign[:, None], atol=1e-10)
    np.testing.assert_allclose(mine.variance, reference.explained_variance_, rtol=1e-10)
    expected = reference.transform(spectra.astype(float)) * sign
    np.testing.assert_allclose(mine(spectra), expected, rtol=1e-5, atol=1e-5)


def test_the_largest_loading_of_every_component_is_positive(spectra):
    for data in (spectra, -spectra):
        components = build_band_transform(CONFIGS[0]).fit(data).components
        assert (components.max(1) == abs(components).max(1)).all()


def test_directions_without_variance_stay_quiet():
    """Three numbers in seven bands: the other four components are rounding, and come out so."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 7))
    out = build_band_transform(dict(type='PCA', n_components=7)).fit(data)(data)
    np.testing.assert_allclose(out[:, :3].std(0, ddof=1), 1, rtol=1e-5)
    assert abs(out[:, 3:]).max() < 1e-2
    same = np.full((20, 4), 0.1, np.float32)
    assert (build_band_transform(dict(type='PCA', n_components=2)).fit(same)(same) == 0).all()


def test_standardize_and_min_max(spectra):
    spectra[:, 2] = 0.1  # a band that says nothing
    out = build_band_transform(dict(type='Standardize')).fit(spectra)(spectra).astype(float)
    others = [0, 1, 3, 4, 5, 6]
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(out[:, others].std(0), 1, rtol=1e-5)
    assert (out[:, 2] == 0).all()

    out = build_band_transform(dict(type='MinMax')).fit(spectra)(spectra)
    assert (out.min(0) == 0).all() and (out[:, others].max(0) == 1).all() and (out[:, 2] == 0).all()
    out = build_band_transform(dict(type='MinMax', per_band=False)).fit(spectra)(spectra)
    low, high = spectra.min(), spectra.max()
    np.testing.assert_allclose(out, (spectra - low) / (high - low), rtol=1e-5, atol=1e-6)


def test_several_transforms(spectra):
    standard = build_band_transform(CONFIGS[2]).fit(spectra)
    later = build_band_transform(CONFIGS[0]).fit(standard(spectra))
    chain = build_band_transform([CONFIGS[2], CONFIGS[0]]).fit(spectra)
    np.testing.assert_allclose(chain(spectra), later(standard(spectra)), rtol=1e-4, atol=1e-5)
    assert (chain.in_bands, chain.out_bands) == (7, 4)


@pytest.mark.parametrize('cfg', CONFIGS, ids=str)
def test_state_travels_as_plain_data(spectra, cfg):
    transform = build_band_transform(cfg).fit(spectra)
    state = transform.state_dict()
    assert json.loads(json.dumps(state)) == state  # lists, numbers and strings only
    copy = restore_band_transform(json.loads(json.dumps(state)))
    cube = spectra.reshape(10, 20, 7)
    out = transform(cube)
    assert out.shape == (10, 20, transform.out_bands) and out.dtype == np.float32
    np.testing.assert_array_equal(copy(cube), out)
    assert (copy.in_bands, copy.out_bands) == (7, out.shape[-1])
    assert copy.state_dict() == state and repr(copy) == repr(transform)


@pytest.mark.parametrize('cfg', CONFIGS, ids=str)
def test_a_part_gets_the_values_of_the_whole(spectra, cfg):
    """Maps of scenes are made strip by strip."""
    transform = build_band_transform(cfg).fit(spectra)
    whole = transform(spectra)
    for start, stop in pairwise((0, 1, 70, 71, 200)):
        part = transform(spectra[start:stop])
        np.testing.assert_allclose(part, whole[start:stop], rtol=1e-6, atol=1e-6)


def test_snv_takes_brightness_away(spectra):
    snv = build_band_transform(dict(type='SNV')).fit(spectra)
    out = snv(spectra)
    np.testing.assert_allclose(out.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(1), 1, rtol=1e-5)
    np.testing.assert_allclose(snv(3 * spectra + 20), out, atol=1e-4)
    assert not snv(np.full((2, 7), 9.0)).any()


@pytest.fixture
def classes():
    """Labels of the spectra, and what tells them apart beside a direction of much noise."""
    labels = np.arange(200) % 4
    means = np.random.default_rng(4).normal(size=(4, 7)) * (labels[:, None] > 0)[:4]
    return labels, means[labels]


def test_lda_is_that_of_scikit_learn(spectra, classes):
    labels, means = classes
    pixels = (spectra + 20 * means).astype(np.float32)
    mine = build_band_transform(dict(type='LDA', n_components=2)).fit(pixels, labels)
    known = labels > 0
    chosen = pixels[known].astype(float)
    scale = chosen.std(0)
    reference = LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto')
    expected = reference.fit((chosen - chosen.mean(0)) / scale, labels[known]).transform(
        (pixels - chosen.mean(0)) / scale
    )
    out = mine(pixels)
    sign = np.sign((out * expected[:, :2]).sum(0))
    np.testing.assert_allclose(
        out - out.mean(0), sign * (expected - expected.mean(0))[:, :2], rtol=1e-3, atol=1e-3
    )
    assert (mine.components.max(1) == abs(mine.components).max(1)).all()


def test_lda_looks_at_labelled_pixels_only(spectra, classes):
    labels, means = classes
    pixels = (spectra + means).astype(np.float32)
    cfg = [dict(type='SNV'), dict(type='LDA', n_components=2)]
    state = build_band_transform(cfg).fit(pixels, labels).state_dict()
    pixels[labels == 0] *= 5
    pixels[labels == 0, 3] += 100
    assert build_band_transform(cfg).fit(pixels, labels).state_dict() == state
    pixels[1, 3] += 100
    assert build_band_transform(cfg).fit(pixels, labels).state_dict() != state
    restored = restore_band_transform(json.loads(json.dumps(state)))
    np.testing.assert_array_equal(restored(pixels), restored(pixels[None])[0])


def test_lda_names_what_is_missing(spectra, classes, monkeypatch):
    labels, _ = classes
    three = build_band_transform(dict(type='LDA', n_components=3))
    with pytest.raises(DataError, match='3 such classes: set n_components to 2 or less'):
        three.fit(spectra, labels)
    for nothing in (None, np.zeros(200, int)):
        with pytest.raises(DataError, match='0 such classes'):
            three.fit(spectra, nothing)
    monkeypatch.setitem(sys.modules, 'sklearn.discriminant_analysis', None)
    with pytest.raises(ImportError, match='pip install scikit-learn, or take PCA'):
        build_band_transform(dict(type='LDA', n_components=2)).fit(spectra, labels)


def test_integers_are_taken_as_they_are():
    counts = np.arange(24, dtype=np.uint16).reshape(6, 4) * 2500
    out = build_band_transform(dict(type='MinMax')).fit(counts)(counts)
    np.testing.assert_allclose(out[:, 0], np.linspace(0, 1, 6), rtol=1e-6)


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (None, 'type is one of Identity, Standardize, MinMax, SNV, Chain, PCA, LDA'),
        (dict(type='LDA', n_components=0), 'LDA: n_components is 0'),
        (dict(type='pca'), "band_transform is {'type': 'pca'}"),
        (dict(type='PCA'), "PCA .*missing 1 required positional argument: 'n_components'"),
        (
            dict(type='PCA', n_components=3, whitten=True),
            "argument 'whitten'.*'n_components', 'whiten'",
        ),
        (dict(type='PCA', n_components=0), 'n_components is 0, give a whole number'),
        (dict(type='PCA', n_components=2.0), 'n_components is 2.0'),
        (dict(type='PCA', n_components=True), 'n_components is True'),
        ([], 'list of band transforms is empty'),
        ([dict(type='Standardise')], 'Standardise'),
    ],
    ids=str,
)
def test_wrong_configurations_are_named(cfg, words):
    with pytest.raises(ValueError, match=words):
        build_band_transform(cfg)


def test_what_cannot_be_fitted_is_named(spectra):
    eight = build_band_transform(dict(type='PCA', n_components=8))
    with pytest.raises(DataError, match='8 components needs as many bands, but the cube has 7'):
        eight.fit(spectra)
    four = build_band_transform(CONFIGS[0])
    with pytest.raises(DataError, match='at least 5 fitting pixels, but there are 4: .*fit_on'):
        four.fit(spectra[:4])
    assert four.fit(spectra[:5]).out_bands == 4
    for cfg in CONFIGS:
        with pytest.raises(DataError, match=r'array of shape \(0, 7\)'):
            build_band_transform(cfg).fit(spectra[:0])
    spectra[150, 3] = np.nan
    with pytest.raises(DataError, match='NaN or inf; load the scene with load_scene'):
        four.fit(spectra)


def test_few_fitting_pixels_are_warned_of(spectra, monkeypatch):
    said = []
    monkeypatch.setattr(projections, 'print_log', lambda message, *_: said.append(message))
    build_band_transform(CONFIGS[0]).fit(spectra[:40])
    assert not said
    build_band_transform(CONFIGS[0]).fit(spectra[:39])
    assert len(said) == 1 and 'fitted to 39 pixels only' in said[0]


def test_wrong_use_is_named(spectra):
    transform = build_band_transform(CONFIGS[0])
    with pytest.raises(ValueError, match='not fitted yet'):
        transform(spectra)
    transform.fit(spectra)
    with pytest.raises(DataError, match='cube has 6 bands, but .* was fitted to 7'):
        transform(spectra[:, :6])
    state = transform.state_dict()
    del state['mean']
    with pytest.raises(ValueError, match=r"lacks \['mean'\]"):
        restore_band_transform(state)
    with pytest.raises(ValueError, match='the state of a band transform is'):
        restore_band_transform({'classes': 3})
    chain = build_band_transform(CONFIGS[6]).fit(spectra).state_dict()
    del chain['in_bands']
    with pytest.raises(ValueError, match='Chain lacks .*in_bands'):
        restore_band_transform(chain)
