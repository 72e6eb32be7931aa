"""tools/dataset_converters/digits.py: layout, labels, disjoint digits, same bytes, refusals."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location('digits', ROOT / 'tools/dataset_converters/digits.py')
digits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digits)

OPTIONS = ('--scenes', '6', '--val-scenes', '3', '--size', '64')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    out = tmp_path_factory.mktemp('scenes') / 'digits'
    digits.main(['--out', str(out), *OPTIONS])
    return out


def content(folder):
    files = sorted(path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_layout_is_ade20ks(scenes):
    for split, count in (('training', 6), ('validation', 3)):
        images = sorted((scenes / 'images' / split).iterdir())
        annotations = sorted((scenes / 'annotations' / split).iterdir())
        assert [path.name for path in images] == [f'{i:05d}.jpg' for i in range(count)]
        assert [path.stem for path in annotations] == [path.stem for path in images]
        for image, annotation in zip(images, annotations, strict=True):
            assert cv2.imread(str(image), cv2.IMREAD_UNCHANGED).shape == (64, 64, 3)
            label = cv2.imread(str(annotation), cv2.IMREAD_UNCHANGED)
            assert label.shape == (64, 64) and label.dtype == np.uint8
            assert label.min() == 0 and 1 <= label.max() <= 10


def test_config_reads_it(scenes):
    from mmseg.datasets import BaseSegDataset

    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/digits.py')
    for loader, count in ((cfg.train_dataloader, 6), (cfg.val_dataloader, 3)):
        settings = {**loader.dataset, 'data_root': str(scenes), 'pipeline': []}
        settings.pop('type')
        dataset = BaseSegDataset(**settings)
        assert len(dataset) == count
        assert all(Path(dataset[i]['seg_map_path']).exists() for i in range(count))
    assert dataset.metainfo['classes'] == ('ground', *'0123456789')


def test_no_digit_is_in_both_splits():
    labels = load_digits().target
    split = digits.split_digits(labels, seed=0)
    training, validation = set(split['training']), set(split['validation'])
    assert not training & validation
    assert training | validation == set(range(len(labels)))
    shares = np.bincount(labels[split['training']]) / np.bincount(labels)
    assert np.allclose(shares, 0.7, atol=0.01)  # of each class


def test_strokes_carry_the_digits_own_label():
    """In scenes of fours alone every stroke is labelled as a four, and stands out."""
    data = load_digits()
    fours = data.target == 4
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image, annotation = digits.draw_scene(data.images[fours], data.target[fours], 96, rng)
        assert set(np.unique(annotation)) == {0, 5}
        strokes = annotation > 0
        assert 0.02 < strokes.mean() < 0.5
        assert np.linalg.norm(image[strokes].mean(0) - image[~strokes].mean(0)) > 20


def test_digit_covers_its_place_and_keeps_its_shape():
    """A filled square drawn as a digit has the size of one, in its quarter."""
    for seed in range(10):
        coverage = digits.draw_digit(np.full((8, 8), 16), (1, 0), 128, np.random.default_rng(seed))
        assert coverage.shape == (128, 128) and coverage.min() >= 0 and coverage.max() == 1
        low, high = (np.array(digits.DIGIT_SIZE) * 128) ** 2  # turns and shears keep the area
        strokes = coverage > 0.5
        assert 0.8 * low < strokes.sum() < 1.2 * high
        row, column = np.argwhere(strokes).mean(axis=0)
        assert row < 64 < column  # in the quarter that was asked for


def test_same_options_same_bytes(scenes, tmp_path):
    digits.main(['--out', str(tmp_path / 'again'), *OPTIONS])
    assert content(tmp_path / 'again') == content(scenes)


def test_no_two_scenes_share_their_randomness(tmp_path, monkeypatch):
    """Neither within a split, nor across splits, nor across seeds."""

    def noise(pictures, labels, size, rng):
        return rng.integers(0, 256, (size, size, 3), np.uint8), np.zeros((size, size), np.uint8)

    monkeypatch.setattr(digits, 'draw_scene', noise)
    for seed in ('0', '1'):
        digits.main(['--out', str(tmp_path / seed), *OPTIONS, '--seed', seed])
    assert len({path.read_bytes() for path in tmp_path.rglob('*.jpg')}) == 2 * (6 + 3)


def test_first_scenes_do_not_depend_on_how_many_follow(scenes, tmp_path):
    digits.main(
        ['--out', str(tmp_path / 'few'), '--scenes', '2', '--val-scenes', '1', *OPTIONS[4:]]
    )
    few, many = content(tmp_path / 'few'), content(scenes)
    assert all(many[name] == few[name] for name in few if name != digits.MARKER)


def test_written_once_and_rewritten_when_options_change(tmp_path, capsys):
    out = tmp_path / 'digits'
    digits.main(['--out', str(out), *OPTIONS])
    image = out / 'images/training/00000.jpg'
    written = image.stat().st_mtime_ns
    digits.main(['--out', str(out), *OPTIONS])
    assert image.stat().st_mtime_ns == written
    assert 'up to date' in capsys.readouterr().out

    fewer = ['--out', str(out), '--scenes', '4', '--val-scenes', '2', *OPTIONS[4:]]
    digits.main(fewer)
    assert len(list((out / 'images/training').iterdir())) == 4


def test_interrupted_writing_starts_again(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    out = ['--out', str(tmp_path / 'digits'), *OPTIONS]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(digits, 'draw_scene', interrupted)
        digits.main(out)
    digits.main(out)
    assert len(list((tmp_path / 'digits/images/training').iterdir())) == 6


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(SystemExit, match='holds something else.*choose another --out'):
        digits.main(['--out', str(tmp_path), *OPTIONS])
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'
    with pytest.raises(SystemExit, match='holds something else'):
        digits.main(['--out', str(tmp_path / 'thesis.tex'), *OPTIONS])


@pytest.mark.parametrize(
    ('option', 'value', 'least'),
    [('--scenes', '0', 1), ('--val-scenes', '-1', 1), ('--size', '16', 32), ('--seed', '-1', 0)],
)
def test_bad_options_give_a_sentence(tmp_path, capsys, option, value, least):
    with pytest.raises(SystemExit):
        digits.main(['--out', str(tmp_path / 'x'), option, value])
    assert f'{option} must be {least} or more, {value} was given' in capsys.readouterr().err
    assert not (tmp_path / 'x').exists()
