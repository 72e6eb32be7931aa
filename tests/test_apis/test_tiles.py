"""Where tiles lie, and the blend: against sums of weighted tiles, and to the bit for constants."""

import numpy as np
import pytest
import torch
from blending import weigh

from mmvit_plugins.apis import store
from mmvit_plugins.apis.store import Store
from mmvit_plugins.apis.tiles import Axis, blend, check_tiles
from mmvit_plugins.errors import UserError

CASES = [
    (40, 70, 32, 0.25),
    (33, 100, 32, 0.5),  # three tiles and more over one pixel
    (97, 64, 20, 0.75),
    (20, 90, 32, 0.25),  # lower than a tile
    (64, 64, 32, 0.0),
    (16, 16, 32, 0.25),
]


def join(pieces, shape) -> np.ndarray:
    """Put pieces together; each pixel comes once."""
    whole = np.full(shape, np.nan, np.float32)
    for top, left, values in pieces:
        _, height, width = values.shape
        part = whole[:, top : top + height, left : left + width]
        assert np.isnan(part).all()
        part[:] = values.numpy()
    return whole


@pytest.mark.parametrize('room', [1 << 20, 0], ids=['memory', 'file'])
@pytest.mark.parametrize(('height', 'width', 'tile', 'overlap'), CASES)
def test_the_blend_is_a_weighted_mean(height, width, tile, overlap, room, monkeypatch, tmp_path):
    monkeypatch.setattr(store, 'IN_MEMORY', room)
    rows, columns = Axis(height, tile, overlap), Axis(width, tile, overlap)
    rng = np.random.default_rng(0)
    count = len(rows.starts) * len(columns.starts)
    tiles = rng.random((count, 3, rows.tile, columns.tile)).astype(np.float32)
    expected = weigh(tiles, rows, columns)
    found = join(blend(torch.tensor(tiles), rows, columns, tmp_path), expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not [*tmp_path.iterdir()]  # the file has no name

    same = rng.normal(size=expected.shape).astype(np.float32)  # what all tiles agree on
    cut = [
        torch.tensor(same[:, top : top + rows.tile, left : left + columns.tile])
        for top in rows.starts
        for left in columns.starts
    ]
    np.testing.assert_array_equal(join(blend(cut, rows, columns), same.shape), same)


@pytest.mark.parametrize('overlap', [0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize('length', [10, 100, 101, 163, 1000])
def test_tiles_lie_evenly_from_end_to_end(length, overlap):
    axis = Axis(length, 100, overlap)
    starts = np.array(axis.starts)
    assert starts[0] == 0 and starts[-1] + axis.tile == length
    steps = np.diff(starts)
    assert (steps > 0).all() and (steps <= max(int(100 * (1 - overlap)), 1)).all()
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    ('tile', 'overlap', 'words'),
    [(8, 0.25, 'tile=8: give at least 16'), (-1, 0, 'tile=-1'), (64, 1.0, 'overlap=1.0: give a')],
)
def test_what_makes_no_tiles_is_refused(tile, overlap, words):
    with pytest.raises(UserError, match=words):
        check_tiles(tile, overlap)
    check_tiles(None, 0.25)
    check_tiles(0, 0)


def test_a_store_in_a_file_is_like_one_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(store, 'IN_MEMORY', 100)
    small, large = Store((10, 10), 'uint8'), Store((30, 20), 'float16', tmp_path / 'new')
    assert small.mapped is None and large.mapped is not None
    values = np.random.default_rng(0).random((30, 20)).astype(np.float16)
    large.array[:] = values
    large.release()
    np.testing.assert_array_equal(large.array, values)
    assert not small.array.any()
