"""tools/dataset_converters/digits.py: layout, labels, boxes, disjoint digits, bytes, refusals."""

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from sklearn.datasets import load_digits

from mmvit_plugins.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location('digits', ROOT / 'tools/dataset_converters/digits.py')
digits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digits)


def write(arguments):
    digits.main(digits.make_parser().parse_args(arguments))


OPTIONS = ('--scenes', '6', '--val-scenes', '3', '--size', '64')


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    out = tmp_path_factory.mktemp('scenes') / 'digits'
    write(['--out', str(out), *OPTIONS])
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


def read(folder, split):
    return json.loads((folder / f'annotations/instances_{split}.json').read_text())


def test_instances_are_the_label_maps_digits(scenes):
    """Every pixel of an instance has its digit's label, and every labelled pixel one instance."""
    coco = pytest.importorskip('pycocotools.coco')
    counts = set()
    for split, count in (('training', 6), ('validation', 3)):
        data = coco.COCO(str(scenes / f'annotations/instances_{split}.json'))
        assert len(data.imgs) == count
        assert data.cats == {1 + d: {'id': 1 + d, 'name': str(d)} for d in range(10)}
        for image in data.loadImgs(data.getImgIds()):
            assert (image['width'], image['height']) == (64, 64)
            assert (scenes / 'images' / split / image['file_name']).exists()
            name = Path(image['file_name']).with_suffix('.png')
            label = cv2.imread(str(scenes / 'annotations' / split / name), cv2.IMREAD_UNCHANGED)
            instances = data.loadAnns(data.getAnnIds(imgIds=[image['id']]))
            counts.add(len(instances))
            covered = np.zeros_like(label)
            for instance in instances:
                mask = data.annToMask(instance)
                assert (label[mask > 0] == instance['category_id']).all()
                assert instance['area'] == mask.sum()
                assert instance['bbox'] == list(cv2.boundingRect(mask))
                assert instance['iscrowd'] == 0
                covered += mask
            np.testing.assert_array_equal(covered, label > 0)
    assert len(counts) > 1 and max(counts) <= 4


def test_ids_are_unique(scenes):
    for split in digits.SPLITS:
        data = read(scenes, split)
        for key, first in (('images', 0), ('annotations', 1), ('categories', 1)):
            ids = [record['id'] for record in data[key]]
            assert ids == list(range(first, first + len(ids)))


@pytest.mark.parametrize('shape', [(4, 6), (6, 4), (5, 5)])
def test_masks_begin_and_end_anywhere(shape):
    """At the first and last pixel too, against pycocotools' own reading of the numbers."""
    mask = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    for _ in range(20):
        strokes = rng.integers(0, 2, shape, np.uint8)
        strokes.flat[rng.integers(strokes.size)] = 1
        found = digits.describe_instance(strokes * np.uint8(7))
        runs = mask.frPyObjects(found['segmentation'], *shape)
        np.testing.assert_array_equal(mask.decode(runs), strokes)
        assert found['category_id'] == 7 and found['area'] == strokes.sum()


@pytest.fixture
def detection(scenes):
    """The config of the detection set, with the scenes of this test."""
    pytest.importorskip('mmdet.datasets', exc_type=ImportError)
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/digits_detection.py')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.data_root = str(scenes)
    cfg.val_evaluator.ann_file = str(scenes / 'annotations/instances_validation.json')
    return cfg


def test_detection_config_reads_it(detection):
    """Boxes and masks reach the detector as they are in the label map, unflipped."""
    from mmdet.registry import DATASETS

    assert detection.train_pipeline[0].type == detection.test_pipeline[0].type
    for loader, count in ((detection.train_dataloader, 6), (detection.val_dataloader, 3)):
        dataset = DATASETS.build({'_scope_': 'mmdet', **loader.dataset})
        assert len(dataset) == count
        assert dataset.metainfo['classes'] == tuple('0123456789')
        assert len(dataset.metainfo['palette']) == 10
        for index in range(count):
            packed = dataset[index]
            sample = packed['data_samples']
            assert packed['inputs'].shape == (3, 128, 128)
            place = Path(sample.img_path.replace('images', 'annotations')).with_suffix('.png')
            label = cv2.imread(str(place), cv2.IMREAD_UNCHANGED)
            truth = sample.gt_instances
            assert len(truth) > 0 and truth.masks.masks.shape[0] == len(truth)
            size = truth.masks.width  # resized with the picture only in training
            assert size == (64 if loader.dataset.get('test_mode') else 128)
            label = cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST)
            for box, digit, strokes in zip(
                truth.bboxes.tensor.tolist(), truth.labels.tolist(), truth.masks, strict=True
            ):
                assert (label[strokes > 0] == 1 + digit).mean() > 0.9  # but for edges, resized
                x, y, width, height = cv2.boundingRect(strokes)
                np.testing.assert_allclose(box, (x, y, x + width, y + height), atol=2)


@pytest.mark.parametrize('metric', [['bbox'], ['bbox', 'segm']])
def test_perfect_detections_are_scored_as_such(detection, metric):
    pytest.importorskip('mmdet.evaluation', exc_type=ImportError)
    from mmdet.registry import DATASETS, METRICS
    from mmengine.structures import InstanceData

    dataset = DATASETS.build({'_scope_': 'mmdet', **detection.val_dataloader.dataset})
    scorer = METRICS.build({'_scope_': 'mmdet', **detection.val_evaluator, 'metric': metric})
    scorer.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        sample = dataset[index]['data_samples']
        truth = sample.gt_instances
        found = InstanceData(
            bboxes=truth.bboxes.tensor,
            labels=truth.labels,
            masks=truth.masks.to_tensor(bool, 'cpu'),
            scores=truth.labels * 0 + 1.0,
        )
        scorer.process({}, [{**sample.to_dict(), 'pred_instances': found}])
    scores = scorer.evaluate(len(dataset))
    assert all(scores[f'coco/{name}_mAP'] == 1 for name in metric)


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
        scene = digits.draw_scene(data.images[fours], data.target[fours], 96, rng)
        image, annotation, instances = scene
        assert set(np.unique(annotation)) == {0, 5}
        np.testing.assert_array_equal(sum(instances), annotation)  # each stroke is one digit's
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
    write(['--out', str(tmp_path / 'again'), *OPTIONS])
    assert content(tmp_path / 'again') == content(scenes)


def test_no_two_scenes_share_their_randomness(tmp_path, monkeypatch):
    """Neither within a split, nor across splits, nor across seeds."""

    def noise(pictures, labels, size, rng):
        return rng.integers(0, 256, (size, size, 3), np.uint8), np.zeros((size, size), np.uint8), []

    monkeypatch.setattr(digits, 'draw_scene', noise)
    for seed in ('0', '1'):
        write(['--out', str(tmp_path / seed), *OPTIONS, '--seed', seed])
    assert len({path.read_bytes() for path in tmp_path.rglob('*.jpg')}) == 2 * (6 + 3)


def test_first_scenes_do_not_depend_on_how_many_follow(scenes, tmp_path):
    write(['--out', str(tmp_path / 'few'), '--scenes', '2', '--val-scenes', '1', *OPTIONS[4:]])
    few, many = content(tmp_path / 'few'), content(scenes)
    pictures = [name for name in few if not name.endswith('.json')]
    assert len(pictures) == 2 * (2 + 1)
    assert all(many[name] == few[name] for name in pictures)
    for split in digits.SPLITS:
        few, many = (read(folder, split) for folder in (tmp_path / 'few', scenes))
        assert few['categories'] == many['categories']
        for key in ('images', 'annotations'):
            assert few[key] == many[key][: len(few[key])]


def test_written_once_and_rewritten_when_options_change(tmp_path, capsys):
    out = tmp_path / 'digits'
    write(['--out', str(out), *OPTIONS])
    image = out / 'images/training/00000.jpg'
    written = image.stat().st_mtime_ns
    write(['--out', str(out), *OPTIONS])
    assert image.stat().st_mtime_ns == written
    assert 'up to date' in capsys.readouterr().out

    fewer = ['--out', str(out), '--scenes', '4', '--val-scenes', '2', *OPTIONS[4:]]
    write(fewer)
    assert len(list((out / 'images/training').iterdir())) == 4


def test_interrupted_writing_starts_again(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    out = ['--out', str(tmp_path / 'digits'), *OPTIONS]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(digits, 'draw_scene', interrupted)
        write(out)
    write(out)
    assert len(list((tmp_path / 'digits/images/training').iterdir())) == 6


def test_other_peoples_files_are_left_alone(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(UserError, match='holds something else.*choose another --out'):
        write(['--out', str(tmp_path), *OPTIONS])
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'
    with pytest.raises(UserError, match='thesis.tex is a file'):
        write(['--out', str(tmp_path / 'thesis.tex'), *OPTIONS])


def test_files_of_others_among_the_scenes_stop_a_rewriting(tmp_path):
    """Also where the marker is damaged, which knows what may go; what is up to date stays."""
    out = tmp_path / 'digits'
    write(['--out', str(out), *OPTIONS])
    precious = out / 'images/training/mine.jpg'
    precious.touch()
    fewer = ['--out', str(out), '--scenes', '4', '--val-scenes', '2', *OPTIONS[4:]]
    with pytest.raises(UserError, match='something else than digit scenes, .*mine.jpg: take it'):
        write(fewer)
    precious.unlink()
    (out / digits.MARKER).write_text('{"scen')
    with pytest.raises(UserError, match='digits.json is damaged'):
        write(fewer)
    assert len(list((out / 'images/training').iterdir())) == 6


@pytest.mark.parametrize(
    ('option', 'value', 'least'),
    [('--scenes', '0', 1), ('--val-scenes', '-1', 1), ('--size', '16', 32), ('--seed', '-1', 0)],
)
def test_bad_options_give_a_sentence(tmp_path, capsys, option, value, least):
    with pytest.raises(SystemExit):
        write(['--out', str(tmp_path / 'x'), option, value])
    assert f'{option}: give a number from {least} on, not {value}' in capsys.readouterr().err
    assert not (tmp_path / 'x').exists()
