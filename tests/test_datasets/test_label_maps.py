"""Label maps and folders that are wrong are found before the first iteration, good ones pass."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmvit_plugins.datasets import CheckLabels, check_dataset, checks
from mmvit_plugins.datasets.checks import check_layouts
from mmvit_plugins.datasets.classes import Labels
from mmvit_plugins.errors import DataError

pytest.importorskip('mmseg')
from mmcv.transforms import LoadImageFromFile  # noqa: E402
from mmseg.datasets import BaseSegDataset  # noqa: E402
from mmseg.datasets.transforms import LoadAnnotations  # noqa: E402


def build(root, split='training', check=True, **more):
    """As a config does, with the first steps of a pipeline."""
    steps = [LoadImageFromFile(), LoadAnnotations()]
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
        metainfo=dict(classes=('ground', 'red', 'blue')),
        pipeline=steps + [CheckLabels(3)] * check,
        **more,
    )


@pytest.fixture
def root(make_scenes):
    return make_scenes(3)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(checks, 'print_log', lambda text, *_: lines.append(text))
    return lines


def map_of(root):
    return root / 'annotations/training/1.png'


def labels_of(root):
    return np.array(Image.open(map_of(root)))


def write_map(root, labels):
    Image.fromarray(labels).save(map_of(root))


def cut(root, share):
    data = map_of(root).read_bytes()
    map_of(root).write_bytes(data[: int(share * len(data))])


def as_jpeg(root):
    Image.open(map_of(root)).save(root / 'map.jpg')
    (root / 'map.jpg').replace(map_of(root))


def turn(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(root / 'images/training/1.jpg').resize((64, 32))
    picture.save(root / 'images/training/1.jpg', exif=exif)
    write_map(root, labels_of(root)[:32])


FAULTS = {
    'empty': (lambda root: cut(root, 0), '1.png cannot be read .*: it is empty'),
    'text': (lambda root: map_of(root).write_text('<html>'), '1.png cannot be read'),
    'cut off': (lambda root: cut(root, 0.6), '1.png cannot be read'),
    'colour': (
        lambda root: write_map(root, labels_of(root)[..., None].repeat(3, 2)),
        '1.png has 3 channels, as a picture in colour, one is needed',
    ),
    'jpeg': (as_jpeg, '1.png is a JPEG'),
    '16 bits': (
        lambda root: write_map(root, labels_of(root).astype(np.uint16) + 256),
        r'1.png \(uint16\) holds 256, and labels are read as bytes',
    ),
    'smaller': (
        lambda root: write_map(root, labels_of(root)[:32]),
        '1.png is 32 x 64 pixels, .*1.jpg is 64 x 64',
    ),
    'turned': (turn, '1.png is 32 x 64 pixels, .*1.jpg is 64 x 32'),
    'too high': (lambda root: write_map(root, labels_of(root) + 3), '1.png holds label 3'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_wrong_label_maps(root, fault):
    damage, words = FAULTS[fault]
    check_dataset(build(root), 'train')
    damage(root)
    with pytest.raises(DataError, match=words):
        check_dataset(build(root), 'train')


def test_a_single_row(root):
    Image.fromarray(labels_of(root)[:1]).save(map_of(root))
    picture = root / 'images/training/1.jpg'
    Image.open(picture).resize((64, 1)).save(picture)
    with pytest.raises(DataError, match='1.png is a single row or column'):
        check_dataset(build(root), 'train')


@pytest.mark.parametrize('fault', ['colour', '16 bits', 'jpeg', 'smaller', 'too high'])
def test_the_step_of_the_pipeline_finds_them_too(root, fault):
    """As only some of a large data set are looked at before."""
    FAULTS[fault][0](root)
    dataset = build(root)
    dataset[0]
    with pytest.raises(DataError, match=FAULTS[fault][1]):
        dataset[1]


def test_good_label_maps_of_all_kinds_pass(root, said):
    labels = labels_of(root)
    palette = Image.fromarray(labels)
    palette.putpalette([i % 256 for i in range(768)])
    for image in (palette, Image.fromarray(labels.astype(np.uint16)), Image.fromarray(labels > 0)):
        image.save(map_of(root))
        check_dataset(build(root), 'train')
        assert build(root)[1]['gt_seg_map'].shape == labels.shape
    assert said == []


def test_labels_are_judged_as_they_are_mapped(root, said):
    write_map(root, np.where(labels_of(root) == 2, 255, labels_of(root) + 1).astype(np.uint8))
    check_dataset(build(root, reduce_zero_label=True), 'train')
    assert len(said) == 1 and 'do not occur' in said[0]  # in the other maps, 2 has become 1


def test_labels_that_count_in_no_score_are_told(root, said):
    write_map(root, labels_of(root) + 3)
    check_dataset(build(root, check=False), 'val')
    assert said[0].startswith('1 of 3 label maps of the val data set that were looked at hold lab')
    assert str(map_of(root)) in said[0]


def test_maps_without_a_label(root, said):
    for index in range(3):
        path = root / f'annotations/training/{index}.png'
        Image.fromarray(np.full((64, 64), 255, np.uint8)).save(path)
    with pytest.raises(DataError, match='none of 3 label maps of the train data set'):
        check_dataset(build(root), 'train')
    check_dataset(build(root), 'test')  # as the maps that stand for hidden ones
    assert said[0].startswith('3 of 3 label maps of the test data set')


@pytest.mark.parametrize('content', [b'', b'hello', None])
def test_damaged_pictures(root, content):
    picture = root / 'images/validation/2.jpg'
    picture.write_bytes(picture.read_bytes()[:300] if content is None else content)
    with pytest.raises(DataError, match=r'1 of 3 pictures of the val .* cannot be read, .*2\.jpg'):
        check_dataset(build(root, 'validation'), 'val')


def test_files_without_a_partner_are_told(root, said):
    (root / 'images/training/0.jpg').rename(root / 'images/training/0.JPG')
    (root / 'images/training/1.jpg').unlink()
    check_dataset(build(root), 'train')
    assert len(said) == 1
    assert said[0].startswith('3 files of the train data set have no partner and are left out')
    assert 'training/0.JPG; pictures end in .jpg, their label maps in .png' in said[0]
    said.clear()
    (root / 'list.txt').write_text('2\n')  # a list chooses
    check_dataset(build(root, ann_file='list.txt'), 'train')
    check_dataset(build(root, indices=[0]), 'train')
    assert said == []


def folder(path):
    path.unlink()
    path.mkdir()


def link(path, to):
    path.unlink()
    path.symlink_to(to)


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (folder, '1.jpg is called as a picture and is a folder'),
        (lambda path: link(path, '/nowhere/x.jpg'), '1.jpg .* is a link to nothing'),
        (lambda path: link(path, path), '1.jpg .* is a link to nothing'),
        (lambda path: (path.parent / 'x').symlink_to('.'), 'x is a link to a folder that holds it'),
    ],
)
def test_folders_are_checked_before_anything_is_built(root, damage, words):
    places = dict(img_path='images/training', seg_map_path='annotations/training')
    config = dict(type='BaseSegDataset', data_root=str(root), data_prefix=places)
    picture = root / 'images/training/1.jpg'
    (root / 'real.jpg').write_bytes(picture.read_bytes())
    link(picture, root / 'real.jpg')
    (root / 'images/training/more').symlink_to(root / 'images/validation')
    check_layouts(dict(dataset=config))
    damage(picture)
    with pytest.raises(DataError, match=words):
        check_layouts(dict(dataset=config))


def test_class_names_are_no_text(tmp_path):
    config = dict(type='CustomDataset', metainfo=dict(classes='classes.txt'))
    with pytest.raises(DataError, match="classes='classes.txt', which is no list of names and no"):
        check_layouts(dict(dataset=config))
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    check_layouts(dict(dataset=dict(config, metainfo=dict(classes=str(tmp_path / 'classes.txt')))))
    check_layouts(dict(dataset=dict(config, metainfo=dict(classes=['cat', 'dog']))))


@pytest.mark.parametrize(
    'wrong',
    [
        dict(data_root=5),
        dict(data_prefix=[1]),
        dict(metainfo=[1]),
        dict(filter_cfg='x'),
        dict(indices=0),
    ],
)
def test_settings_of_another_kind(wrong):
    with pytest.raises(DataError, match=f'{next(iter(wrong))} is .*: give (a|at) '):
        check_layouts(dict(dataset=dict(type='CustomDataset') | wrong))


@pytest.mark.parametrize('arguments', [('a',), (2.5,), (None,), (0,), (3, 'b'), (True,)])
def test_arguments_of_the_check(arguments):
    with pytest.raises(ValueError, match='CheckLabels: (num_classes|ignore_index) is'):
        CheckLabels(*arguments)


def test_data_sets_that_know_no_pipeline_pass(root):
    picture = str(root / 'images/training/1.jpg')
    dataset = SimpleNamespace(get_data_info=lambda index: {'img_path': picture})
    assert list(checks.Probe(dataset, Labels(dataset)).look(0)) == []
