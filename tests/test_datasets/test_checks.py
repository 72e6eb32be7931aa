"""Checks of data: each refuses what it must, names it, and lets good data pass."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import BaseLoop

from mmvit_plugins.datasets import CheckLabels, check_dataset, checks, probing
from mmvit_plugins.datasets.checks import LAYOUTS, check_layouts
from mmvit_plugins.engine.hooks import DataCheckHook
from mmvit_plugins.errors import DataError
from mmvit_plugins.registry import TRANSFORMS


def labels(*values, dtype=np.uint8):
    return {'gt_seg_map': np.array([values], dtype), 'seg_map_path': 'ann/7.png'}


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_allowed_labels_pass_unchanged(dtype):
    results = labels(0, 2, 255, dtype=dtype)
    before = results['gt_seg_map'].copy()
    check = TRANSFORMS.build(dict(type='mmvit_plugins.CheckLabels', num_classes=3))
    assert check(results) is results
    np.testing.assert_array_equal(results['gt_seg_map'], before)


@pytest.mark.parametrize(
    ('values', 'dtype', 'words'),
    [
        ((0, 3, 3), np.uint8, 'ann/7.png holds label 3 (2 pixels), allowed are 0 to 2 and 255'),
        ((0, 9, 254), np.uint8, 'label 9 (1 pixels) and 1 more'),
        ((0, -1), np.int64, 'label -1 (1 pixels)'),
    ],
)
def test_wrong_labels_are_named_with_their_file(values, dtype, words):
    with pytest.raises(DataError) as caught:
        CheckLabels(num_classes=3)(labels(*values, dtype=dtype))
    assert words in str(caught.value)
    assert 'reduce_zero_label' in str(caught.value)


def test_another_ignored_label():
    CheckLabels(num_classes=3, ignore_index=-1)(labels(0, -1, dtype=np.int64))
    with pytest.raises(DataError, match='label 255'):
        CheckLabels(num_classes=3, ignore_index=-1)(labels(0, 255))


class LoadAnnotations:
    """Known to the check by its name, which is the same in every host."""


class Files:
    """A list of samples with the attributes that the hosts' data sets have."""

    img_suffix = '.jpg'

    def __init__(self, samples, pipeline=None, **places):
        self.samples = samples
        self.pipeline = SimpleNamespace(
            transforms=[LoadAnnotations()] if pipeline is None else pipeline
        )
        self.data_prefix = places

    def __len__(self):
        return len(self.samples)

    def get_data_info(self, index):
        return self.samples[index]


@pytest.fixture
def samples(make_scenes):
    root = make_scenes(3)
    return [
        {
            'img_path': str(root / f'images/training/{index}.jpg'),
            'seg_map_path': str(root / f'annotations/training/{index}.png'),
        }
        for index in range(3)
    ]


def test_good_data_pass(samples):
    check_dataset(Files(samples), 'train')


@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: SizedWrapper(dataset=d)])
def test_missing_annotations_are_counted_and_named(samples, wrap):
    for sample in samples[1:]:
        sample['seg_map_path'] += '.gone'
    with pytest.raises(DataError, match='lacks 2 of 3 annotation files') as caught:
        check_dataset(wrap(Files(samples)), 'train')
    assert samples[1]['seg_map_path'] in str(caught.value)


def test_annotations_that_are_not_loaded_may_be_missing(samples):
    samples[0]['seg_map_path'] += '.gone'
    check_dataset(Files(samples, pipeline=()), 'test')


class SizedWrapper:
    """As mmengine's RepeatDataset and ConcatDataset."""

    def __init__(self, **inner):
        self.__dict__.update(inner)

    def __len__(self):
        return sum(map(len, getattr(self, 'datasets', None) or [self.dataset]))


@pytest.mark.parametrize('wrap', [lambda d: d, lambda d: SizedWrapper(datasets=[d, d])])
def test_empty_data_are_named_with_their_folder(wrap):
    with pytest.raises(
        DataError, match=r'the val data set \(Files\) is empty.*data/pictures.*\.jpg'
    ):
        check_dataset(wrap(Files([], img_path='data/pictures')), 'val')


def test_cut_off_jpegs_are_warned_of(samples, monkeypatch):
    said = []
    monkeypatch.setattr(checks, 'print_log', lambda message, *_: said.append(message))
    check_dataset(Files(samples), 'train')
    assert said == []
    path = Path(samples[2]['img_path'])
    path.write_bytes(path.read_bytes()[:-100])
    check_dataset(Files(samples), 'train')
    assert said[0].startswith(
        '1 of 3 pictures of the train data set that were looked at are cut off'
    )
    assert f'the first is {path}; their lower' in said[0] and 'complete' not in said[0]


def test_few_jpegs_are_opened_unless_all_are_asked_for(samples, monkeypatch):
    opened, said = [], []
    monkeypatch.setattr(checks, 'PROBED', 2)
    monkeypatch.setattr(checks, 'print_log', lambda message, *_: said.append(message))
    monkeypatch.setattr(probing, '_ends_early', lambda path: opened.append(path) or True)
    paths = [sample['img_path'] for sample in samples]
    check_dataset(Files(samples), 'train')
    assert opened == [paths[0], paths[2]]
    assert said[0].startswith('2 of 2 pictures') and 'complete=True' in said[0]
    opened.clear()
    check_dataset(Files(samples), 'train', complete=True)
    assert opened == paths and said[1].startswith('3 of 3 pictures')


class Loop(BaseLoop):
    def __init__(self, dataset):
        self.dataloader = SimpleNamespace(dataset=dataset)

    run = None


def look_with_a_fault_in_the_second_share(rank, folder, samples, fault):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    dataset = Files(samples)
    if fault:  # not to be read, in the second process alone
        dataset.get_data_info = lambda index: samples[index] if index < 2 else {}[fault]
    torch.set_num_threads(1)
    loop = Loop(dataset)
    try:
        DataCheckHook(complete=True).before_run(
            SimpleNamespace(_train_loop=loop, _val_loop=None, _test_loop=None)
        )
    except Exception as error:
        Path(folder, f'{rank}.txt').write_text(f'{type(error).__name__}: {error}')
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ('fault', 'words'),
    [
        ('', 'DataError: the train data set lacks 1 of 4 pictures, the first is GONE: put'),
        ('lost', "KeyError: 'lost'"),
    ],
)
def test_a_fault_in_one_share_stops_all_processes(samples, tmp_path, fault, words):
    samples = [*samples, {'img_path': str(tmp_path / 'gone.jpg')}]
    torch.multiprocessing.start_processes(
        look_with_a_fault_in_the_second_share,
        (str(tmp_path), samples, fault),
        nprocs=2,
        start_method='fork',
    )
    first, second = ((tmp_path / f'{rank}.txt').read_text() for rank in range(2))
    assert first == second and first.startswith(words.replace('GONE', str(tmp_path / 'gone.jpg')))


def test_missing_pictures_are_counted_and_named(samples):
    for sample in samples[1:]:
        Path(sample['img_path']).unlink()
    with pytest.raises(DataError, match='the val data set lacks 2 of 3 pictures') as caught:
        check_dataset(Files(samples), 'val')
    assert samples[1]['img_path'] in str(caught.value)


def test_folders_and_links_to_nothing_are_no_pictures(samples):
    first, second, third = (Path(sample['img_path']) for sample in samples)
    first.rename(first.with_name('real.jpg'))
    first.symlink_to('real.jpg')
    second.unlink()
    second.symlink_to(second)
    third.unlink()
    third.mkdir()
    with pytest.raises(DataError, match='lacks 2 of 3 pictures') as caught:
        check_dataset(Files(samples), 'train')
    assert str(second) in str(caught.value)


def test_pictures_elsewhere_are_left_alone(samples):
    for sample in samples:
        sample['img_path'] = f's3://bucket{sample["img_path"]}.gone'
    check_dataset(Files(samples), 'train')


def write(root, names):
    for name in names:
        path = root / name
        (path if name.endswith('/') else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith('/'):
            path.touch()


WAYS = [
    (kind, split, way)
    for kind, splits in LAYOUTS.items()
    for split, ways in splits.items()
    for way in ways
]


@pytest.mark.parametrize(('kind', 'split', 'way'), WAYS)
def test_each_file_of_a_layout_is_asked_for(tmp_path, kind, split, way):
    config = dict(type=kind, data_root=str(tmp_path), split=split)
    for count, name in enumerate(way):
        with pytest.raises(DataError) as caught:
            check_layouts(dict(dataset=config))
        missing = str(caught.value).rpartition('missing: ')[2] if count else str(caught.value)
        assert name in missing
        assert f'{kind} ({split}) needs ' in str(caught.value)
        assert f' in {tmp_path}' in str(caught.value)
        write(tmp_path, [name])
    check_layouts(dict(dataset=config))


@pytest.mark.parametrize(('kind', 'split', 'way'), [way for way in WAYS if way[0] != 'NABirds'])
def test_layouts_are_what_the_hosts_read(tmp_path, kind, split, way):
    """With what is asked for in place, the host's class finds its files."""
    pytest.importorskip('mmpretrain')
    from mmpretrain.datasets import CUB, OxfordIIITPet, StanfordCars

    write(tmp_path, way)
    host = {'CUB': CUB, 'OxfordIIITPet': OxfordIIITPet, 'StanfordCars': StanfordCars}[kind]
    data = host(data_root=str(tmp_path), split=split, lazy_init=True)
    lists = [value for key, value in vars(data).items() if key.endswith('_file')]
    assert data.ann_file in lists
    assert all(Path(file).is_file() for file in lists)
    assert Path(data.img_prefix).is_dir()


def test_layouts_of_wrapped_sets_and_of_default_splits(tmp_path):
    pets = dict(type='mmpretrain.OxfordIIITPet', data_root=str(tmp_path))
    for loader in (
        dict(dataset=dict(type='RepeatDataset', times=2, dataset=pets)),
        dict(dataset=dict(type='ConcatDataset', datasets=[dict(type='CustomDataset'), pets])),
    ):
        with pytest.raises(DataError, match='needs annotations/trainval.txt, images/ in'):
            check_layouts(loader)
    with pytest.raises(DataError, match=r"no split 'train': .* \('trainval', 'test'\)"):
        check_layouts(dict(dataset=dict(pets, split='train')))
    check_layouts(dict(dataset=dict(pets, data_root='s3://bucket/pets')))
    check_layouts(dict(dataset=dict(type='CustomDataset')))


def test_the_file_name_of_cars_that_descriptions_have_wrong(tmp_path):
    write(tmp_path, ['devkit/cars_test_annoswithlabels.mat', 'cars_test/'])
    cars = dict(type='StanfordCars', data_root=str(tmp_path), split='test')
    with pytest.raises(DataError) as caught:
        check_layouts(dict(dataset=cars))
    assert str(caught.value) == (
        'StanfordCars (test) needs devkit/cars_test_annos_withlabels.mat, cars_test/ (or '
        f'cars_annos.mat, car_ims/) in {tmp_path}; missing: devkit/cars_test_annos_withlabels.mat '
        '(mind the underscore before withlabels, which some descriptions leave out; '
        'cars_test_annos.mat has no labels); put them there or set data_root'
    )
