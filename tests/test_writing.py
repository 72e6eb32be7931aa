"""Files are completely there or not at all."""

import errno
import os

import numpy as np
import pytest

from mmvit_plugins.apis.scene_files import open_scores, save_labels
from mmvit_plugins.errors import sentence
from mmvit_plugins.writing import replacing, write_bytes, write_json


def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.mark.parametrize('sync', [True, False])
def test_a_full_disk_leaves_the_former_file(tmp_path, monkeypatch, sync):
    file = tmp_path / 'a/b.json'
    write_bytes(b'old', file, sync)
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space') as error:
        write_bytes(b'new', file, sync)
    assert sentence(error.value).startswith(f'{file}: No space left on device; make room')
    assert [path.read_bytes() for path in (tmp_path / 'a').iterdir()] == [b'old']


def test_links_devices_and_long_names(tmp_path):
    """A link stays one, a device is written to, a name of 255 bytes leaves room for the half."""
    (tmp_path / 'link').symlink_to(tmp_path / 'file')
    write_json([1], tmp_path / 'link')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'file').read_text() == '[\n 1\n]\n'
    write_bytes(b'x', '/dev/null')
    assert not os.path.isfile('/dev/null')
    write_bytes(b'x', tmp_path / ('ü' * 127))
    assert len(list(tmp_path.iterdir())) == 3


def test_errors_of_other_files_keep_their_name(tmp_path):
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / 'a') as part:
        part.write_text('half')
        (tmp_path / 'input').read_bytes()
    assert error.value.filename == str(tmp_path / 'input') and not list(tmp_path.iterdir())


def test_scores_of_a_scene_appear_when_they_are_complete(tmp_path):
    file = tmp_path / 'scores.npy'
    with open_scores(file, (4, 5, 3)) as scores:
        scores[:] = 2
        assert not file.exists()
    assert np.array_equal(np.load(file), np.full((4, 5, 3), 2, np.float16))
    with pytest.raises(KeyboardInterrupt), open_scores(file, (1, 1, 1)):
        raise KeyboardInterrupt
    assert np.load(file).shape == (4, 5, 3) and list(tmp_path.iterdir()) == [file]
    with open_scores(None, (1, 1, 1)) as scores:
        assert scores is None


@pytest.mark.parametrize('ending', ['.npy', '.mat', '.tif'])
def test_a_map_replaces_another_at_once(tmp_path, monkeypatch, ending):
    if ending == '.tif':
        pytest.importorskip('rasterio')
    file = tmp_path / f'map{ending}'
    labels = np.ones((3, 4), np.uint8)
    save_labels(file, labels, [(1, 2, 3)], None)
    before = file.read_bytes()
    monkeypatch.setattr(os, 'replace', full)
    with pytest.raises(OSError, match='No space'):
        save_labels(file, labels + 1, [(1, 2, 3)] * 2, None)
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]
