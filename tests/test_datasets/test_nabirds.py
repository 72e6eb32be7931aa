"""NABirds on a generated folder: what it reads, and one sentence for each thing that may be wrong.

The folder has what sets NABirds apart: picture ids that are no numbers, class ids with gaps that do
not stand in order, names with blanks, and classes of the hierarchy that have no pictures.
"""

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmvit_plugins.datasets import NABirds
from mmvit_plugins.errors import DataError

NAMES = {
    0: 'Birds',
    9: 'Owls',
    8: 'Snowy Owl',
    102: "Clark's Grebe (Breeding)",
    295: 'Long-eared Owl',
    817: 'Grebes',
}
PARENTS = {9: 0, 817: 0, 8: 9, 295: 9, 102: 817}
# picture id -> class, whether it is for training
PICTURES = {
    'b-1': (295, 1),
    'a-2': (8, 1),
    'c-3': (102, 1),
    'd-4': (102, 0),
    'e-5': (295, 0),
    'f-6': (295, 0),
}


@pytest.fixture
def root(tmp_path):
    lists = {
        'classes.txt': NAMES,
        'hierarchy.txt': PARENTS,
        'images.txt': {key: f'{number:04d}/{key}.jpg' for key, (number, _) in PICTURES.items()},
        'image_class_labels.txt': {key: number for key, (number, _) in PICTURES.items()},
        'train_test_split.txt': {key: split for key, (_, split) in PICTURES.items()},
    }
    for file, content in lists.items():
        lines = (f'{key} {value}\n' for key, value in content.items())
        (tmp_path / file).write_text(''.join(lines))
    for path in lists['images.txt'].values():
        (tmp_path / 'images' / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / path), np.zeros((6, 8, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize(
    ('split', 'expected'),
    [
        ('train', {'0295/b-1.jpg': 2, '0008/a-2.jpg': 0, '0102/c-3.jpg': 1}),
        ('test', {'0102/d-4.jpg': 1, '0295/e-5.jpg': 2, '0295/f-6.jpg': 2}),
    ],
)
def test_labels_follow_the_order_of_the_ids(root, split, expected):
    data = NABirds(data_root=str(root), split=split)
    found = [data.get_data_info(index) for index in range(len(data))]
    prefix = f'{root}/images/'
    assert {info['img_path'].removeprefix(prefix): info['gt_label'] for info in found} == expected
    assert data.class_ids == (8, 102, 295), 'as numbers, not as text'
    assert data.metainfo['classes'] == ('Snowy Owl', "Clark's Grebe (Breeding)", 'Long-eared Owl')


def test_names_come_with_the_files(root):
    data = NABirds(data_root=str(root), lazy_init=True)
    assert 'classes' not in data.metainfo
    data.full_init()
    assert len(data.metainfo['classes']) == 3
    assert 'classes' not in NABirds.METAINFO
    given = NABirds(data_root=str(root), metainfo=dict(classes=('a', 'b', 'c')))
    assert given.metainfo['classes'] == ('a', 'b', 'c')


def test_hierarchy_reaches_the_root(root):
    data = NABirds(data_root=str(root), lazy_init=True)
    parents = data.load_hierarchy()
    assert parents == PARENTS
    path = [data.class_ids[1]]
    while path[-1] in parents:
        path.append(parents[path[-1]])
    assert [data.names[node] for node in path] == ["Clark's Grebe (Breeding)", 'Grebes', 'Birds']


def test_builds_from_a_host_and_loads_pictures(root):
    pytest.importorskip('mmpretrain')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        data = DATASETS.build(
            dict(
                type='mmvit_plugins.NABirds',
                data_root=str(root),
                split='test',
                indices=2,
                pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
            )
        )
        assert len(data) == 2
        assert data[1]['inputs'].shape == (3, 6, 8)
        assert data[1]['data_samples'].gt_label.item() == 2


def edit(root, file, old, new):
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


def rename(root, old, new):
    (root / old).rename(root / new)


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda r: rename(r, 'images.txt', 'image.txt'), 'missing: images.txt; put them there'),
        (lambda r: rename(r, 'images', 'pictures'), 'missing: images/; put them there'),
        (lambda r: rename(r, 'classes.txt', 'Classes'), 'missing: classes.txt;'),
        (
            lambda r: [(r / 'images/0295' / f'{key}.jpg').unlink() for key in ('b-1',)],
            'NABirds (train) lacks 1 of 3 pictures that it lists, the first is {root}/images/0295/',
        ),
        (
            lambda r: edit(r, 'image_class_labels.txt', 'c-3 102\n', ''),
            'image_class_labels.txt does not name picture c-3, which images.txt does',
        ),
        (
            lambda r: edit(r, 'train_test_split.txt', 'a-2 1\n', ''),
            'train_test_split.txt does not name picture a-2, which images.txt does',
        ),
        (
            lambda r: edit(r, 'images.txt', 'f-6 0295/f-6.jpg\n', ''),
            'images.txt does not name picture f-6, which image_class_labels.txt does',
        ),
        (
            lambda r: edit(r, 'train_test_split.txt', 'a-2 1', 'a-2 2'),
            'gives 2 for picture a-2, allowed are 1 (train) and 0 (test)',
        ),
        (
            lambda r: edit(r, 'train_test_split.txt', 'a-2 1', 'a-2 0'),
            'leaves class 8 (Snowy Owl) without pictures to train on',
        ),
        (
            lambda r: edit(r, 'image_class_labels.txt', 'a-2 8', 'a-2 11'),
            'classes.txt has no name for class 11',
        ),
        (
            lambda r: edit(r, 'image_class_labels.txt', 'a-2 8', 'a-2 ten'),
            "image_class_labels.txt has 'ten' where a number belongs",
        ),
        (
            lambda r: edit(r, 'images.txt', 'a-2 0008', 'b-1 0008'),
            'images.txt names b-1 twice',
        ),
        (
            lambda r: edit(r, 'images.txt', 'a-2 0008/a-2.jpg', '0008/a-2.jpg'),
            "images.txt has a line of '0008/a-2.jpg' alone, where an id and more belong",
        ),
    ],
)
def test_every_fault_has_its_sentence(root, damage, words):
    damage(root)
    with pytest.raises(DataError) as caught:
        NABirds(data_root=str(root))
    assert words.format(root=root) in str(caught.value)
    assert str(root) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_folder_that_is_not_there_and_a_split_that_is_none(tmp_path):
    with pytest.raises(DataError) as caught:
        NABirds(data_root=f'{tmp_path}/birds')
    assert str(caught.value) == (
        'NABirds (train) needs images.txt, image_class_labels.txt, train_test_split.txt, '
        f'classes.txt, images/ in {tmp_path}/birds, a folder that is not there; put them there or '
        'set data_root'
    )
    with pytest.raises(DataError, match=r"no split 'val': set split to one of \('train', 'test'\)"):
        NABirds(data_root=str(tmp_path), split='val')


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda r: (r / 'hierarchy.txt').unlink(), 'there is no file {root}/hierarchy.txt'),
        (
            lambda r: edit(r, 'hierarchy.txt', '102 817\n', ''),
            "hierarchy.txt has no parent for class 102 (Clark's Grebe (Breeding))",
        ),
        (
            lambda r: edit(r, 'hierarchy.txt', '102 817', '102 Grebes'),
            "hierarchy.txt has 'Grebes' where a number belongs",
        ),
    ],
)
def test_damaged_hierarchy(root, damage, words):
    damage(root)
    data = NABirds(data_root=str(root))  # training does not need it
    with pytest.raises(DataError) as caught:
        data.load_hierarchy()
    assert words.format(root=root) in str(caught.value)


@pytest.mark.parametrize(
    'wrong',
    [dict(data_root=5), dict(metainfo=5), dict(metainfo=dict(classes='ab')), dict(pipeline='x')],
)
def test_arguments_of_another_kind(wrong):
    with pytest.raises(DataError, match=r'(is|classes=).*: give|no file: give'):
        NABirds(**wrong)


def test_names_that_lead_out(root):
    file = root / 'images.txt'
    file.write_text(file.read_text().replace('0295/b-1.jpg', '../../../etc/b-1.jpg'))
    with pytest.raises(DataError, match=r'images.txt names 1 files that lead out of the data'):
        NABirds(str(root))
