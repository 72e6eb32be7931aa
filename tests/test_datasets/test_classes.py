"""Labels against classes: counted as NumPy counts them, refused by file, told beside scores."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmvit_plugins.datasets import check_dataset, checks, folders
from mmvit_plugins.datasets.checks import check_layouts
from mmvit_plugins.datasets.classes import Labels
from mmvit_plugins.engine.hooks import DataCheckHook
from mmvit_plugins.errors import DataError

ANIMALS = ('cat', 'dog', 'owl')


@pytest.fixture
def said(monkeypatch):
    """Warnings and notes, with their level."""
    lines: list[tuple[str, int]] = []

    def log(text, logger=None, level=20):
        lines.append((text, level))

    monkeypatch.setattr(checks, 'print_log', log)
    monkeypatch.setattr(folders, 'print_log', log)
    return lines


class Pictures:
    """As mmpretrain's data sets: pictures with a number of a class each."""

    extensions = ('.jpg', '.png')

    def __init__(self, root, samples, classes=ANIMALS):
        self.metainfo = {'classes': classes}
        self.samples = [(str(root / name), label) for name, label in samples]
        for path, _ in self.samples:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Image.new('RGB', (4, 4)).save(path)

    def __len__(self):
        return len(self.samples)

    def get_data_info(self, index):
        path, label = self.samples[index]
        return {'img_path': path, 'gt_label': label}


GOOD = [('cat/1.jpg', 0), ('dog/1.jpg', 1), ('owl/1.jpg', 2)]


def test_good_labels_pass_without_a_word(tmp_path, said):
    assert check_dataset(Pictures(tmp_path, GOOD), 'train', outputs=3) == []
    # folders that are called in another way say nothing of the classes
    other = [(name.replace('/', '_/'), 2 - label) for name, label in GOOD]
    check_dataset(Pictures(tmp_path, other), 'val')
    # one picture that was given another label by hand
    check_dataset(Pictures(tmp_path, [*GOOD, ('cat/2.jpg', 2)]), 'train', outputs=3)
    assert said == []


@pytest.mark.parametrize('outputs', [3, None])
def test_labels_above_the_classes_are_named_with_a_picture(tmp_path, outputs):
    data = Pictures(tmp_path, [*GOOD, ('dog/2.jpg', 7), ('dog/3.jpg', 4)])
    with pytest.raises(DataError, match='dog/3.jpg .* label 4, allowed are 0 to 2'):
        check_dataset(data, 'train', outputs=outputs)


def test_names_in_another_order_than_the_folders_are_refused(tmp_path):
    data = Pictures(tmp_path, GOOD, classes=('owl', 'dog', 'cat'))
    with pytest.raises(DataError, match='order of their labels, cat, dog, owl') as caught:
        check_dataset(data, 'val')
    assert 'in the folder cat have the label 0, which metainfo calls owl' in str(caught.value)


def test_classes_that_do_not_occur(tmp_path, said):
    """A warning for training; for scores a sentence beside them."""
    data = Pictures(tmp_path, GOOD[:2])
    text = '1 of 3 classes do not occur in the {} data set: owl'
    assert check_dataset(data, 'val') == [text.format('val')]
    assert said == []
    check_dataset(data, 'train', outputs=3)
    assert said == [(f'{text.format("train")}; nothing is learned of them: compare the names '
                     '(metainfo) with the labels', 30)]  # fmt: skip


def test_left_out_endings_are_counted_once_each(tmp_path, said):
    data = Pictures(tmp_path, [*GOOD, ('cat/2.jpg', 0)])
    for name in ('cat/3.webp', 'owl/4.TIFF', 'owl/notes.txt'):
        (tmp_path / name).touch()
    check_dataset(data, 'train', outputs=3)
    assert len(said) == 1 and said[0][1] == 30
    assert said[0][0].startswith('2 pictures of the train data set are left out for their ending')
    assert 'cat/3.webp; it reads those that end in .jpg, .png' in said[0][0]


def test_endings_of_a_folder_that_two_processes_share_are_counted_once():
    """The folder of the sample before a share belongs to the process before."""
    data = SimpleNamespace(
        extensions=('.jpg',),
        get_data_info=lambda i: {'img_path': f'{"aab"[i]}/{i}.jpg'},
    )
    listings = {'a': {'x.webp', '0.jpg'}, 'b': {'y.webp'}}
    assert checks._left_out(data, range(0, 1), {'a': listings['a']}) == ['a/x.webp']
    assert checks._left_out(data, range(1, 3), listings) == ['b/y.webp']


def folder(root, *names):
    for name in names:
        path = root / name
        (path if name.endswith('/') else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith('/'):
            path.touch()
    return dict(dataset=dict(type='mmpretrain.CustomDataset', data_root=str(root), data_prefix=''))


def test_folders_of_classes(tmp_path, said):
    check_layouts(folder(tmp_path / 'good', 'cat/1.jpg', 'dog/', 'readme.txt'))
    assert said == []
    check_layouts(folder(tmp_path / 'loose', 'cat/1.jpg', 'b.JPG', 'a.png'))
    assert len(said) == 1 and said[0][1] == 30
    assert said[0][0].startswith('2 pictures lie directly in') and 'a.png' in said[0][0]
    for hidden in ('.ipynb_checkpoints', '__MACOSX'):
        with pytest.raises(DataError, match=f'{hidden} is a hidden folder .* remove it'):
            check_layouts(folder(tmp_path / hidden[2:], 'cat/1.jpg', f'{hidden}/1.jpg'))
    flat = folder(tmp_path / 'flat', 'cat1.jpg', 'dog1.jpg')
    with pytest.raises(DataError, match='2 pictures lie directly in .* folder of its own'):
        check_layouts(flat)
    for free in (dict(with_label=False), dict(ann_file='list.txt')):
        check_layouts(dict(dataset=dict(flat['dataset'], **free)))


# mmsegmentation's


def maps(make_scenes, change):
    pytest.importorskip('mmseg')
    import mmseg.datasets.transforms  # noqa: F401
    from mmengine.registry import DefaultScope
    from mmseg.datasets import BaseSegDataset

    root = make_scenes()
    pixels = []
    for path in sorted((root / 'annotations/training').iterdir()):
        labels = change(np.array(Image.open(path))).astype(np.uint8)
        Image.fromarray(labels).save(path)
        pixels.append(labels)
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = BaseSegDataset(
            metainfo=dict(classes=('ground', 'red', 'blue'), palette=[[0] * 3] * 3),
            data_root=str(root),
            data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
        )
    return data, np.stack(pixels)


def test_pixels_are_counted_as_numpy_counts_them(make_scenes):
    data, pixels = maps(make_scenes, lambda x: np.where(x == 1, 255, x))
    labels = Labels(data)
    labels.add_map(pixels)
    wide = Labels(data)
    wide.add_map(pixels.astype(np.int64))
    values, counts = np.unique(pixels, return_counts=True)
    assert labels.counts == wide.counts == Counter(dict(zip(values, counts, strict=True)))
    assert labels.missing() == ['red']
    assert labels.share({255}) == pytest.approx(np.mean(pixels == 255))
    both = Labels(data)
    both.join([labels, wide])
    assert both.counts[0] == 2 * np.sum(pixels == 0)


def test_what_scores_leave_out_is_told_beside_them(make_scenes, said):
    data, pixels = maps(make_scenes, lambda x: np.where(x > 0, 255, 0))
    notes = check_dataset(data, 'val')
    assert notes == [
        '2 of 3 classes do not occur in the val data set: red, blue',
        f'{np.mean(pixels == 255):.1%} of the pixels of the val data set are ignored',
    ]
    assert said == []
    hook, told = DataCheckHook(), []
    hook.notes['val'] = notes
    hook.after_val_epoch(SimpleNamespace(logger=SimpleNamespace(info=told.append)))
    assert told == [f'of these scores: {"; ".join(notes)}']


def test_masks_of_0_and_255_are_told(make_scenes, said, monkeypatch):
    data, _ = maps(make_scenes, lambda x: np.where(x > 0, 255, 0))
    monkeypatch.setattr(checks, 'PROBED', 4)  # and where only some maps are looked at
    check_dataset(data, 'train', outputs=3)
    assert len(said) == 1 and said[0][1] == 30
    assert 'hold 0 and 255 alone' in said[0][0] and 'a class, save it as 1' in said[0][0]


def test_rare_classes_of_large_data_are_a_note(make_scenes, said, monkeypatch):
    data, _ = maps(make_scenes, lambda x: np.where(x == 2, 0, x))
    monkeypatch.setattr(checks, 'PROBED', 4)
    check_dataset(data, 'train', outputs=3)
    assert len(said) == 1 and said[0][1] == 20
    assert 'in the 4 label maps that were looked at: blue' in said[0][0]


def test_labels_that_no_loss_takes_are_refused(make_scenes, said):
    data, _ = maps(make_scenes, lambda x: np.where(x == 2, 9, x))
    with pytest.raises(DataError, match='hold the label 9, the model has classes 0 to 2'):
        check_dataset(data, 'train', outputs=3)
    check_dataset(data, 'val', outputs=3)
    check_dataset(data, 'train', outputs=10)
