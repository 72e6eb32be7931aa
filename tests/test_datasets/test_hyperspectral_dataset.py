"""The data set: items against slices by hand, what is fitted to which pixels, what travels."""

import io
import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import (
    ClassBalancedDataset,
    ConcatDataset,
    RepeatDataset,
    default_collate,
    worker_init_fn,
)
from torch.utils.data import DataLoader

from mmvit_plugins.datasets import HyperspectralDataset, check_dataset
from mmvit_plugins.datasets.hyperspectral import (
    build_band_transform,
    dataset,
    restore_band_transform,
)
from mmvit_plugins.errors import DataError
from mmvit_plugins.registry import DATASETS

SIZE, BANDS = (24, 18), 6
# One field a class, left and right, rows 0 and 23 unlabelled: caps at one end of each train.
LABELS = np.zeros(SIZE, np.uint8)
LABELS[1:23, :9], LABELS[1:23, 9:] = 1, 2
SPLIT = dict(mode='fixed', guard='window')
MASKS = {
    'train_labels': np.where(np.arange(24)[:, None] < 8, LABELS, 0),
    'test_labels': np.where(np.arange(24)[:, None] > 13, LABELS, 0),
}
CUBE = np.random.default_rng(0).normal(5, 1, (*SIZE, BANDS)).astype(np.float32)
SPECTRA = dict(window_size=5, band_transform=dict(type='PCA', n_components=3))


@pytest.fixture
def make(tmp_path):
    """Build a data set over files of the scene above."""

    def build(cube=CUBE, labels=LABELS, masks=MASKS, split_cfg=SPLIT, **arguments):
        files = {'image': cube, 'labels': labels, **masks}
        files = {name: array for name, array in files.items() if array is not None}
        for name, array in files.items():
            path = tmp_path / f'{name}.npy'
            if not path.exists() or not np.array_equal(np.load(path), array):
                np.save(path, array)  # a file that is written anew is also read anew
        arguments = {**SPECTRA, 'split_cfg': split_cfg, **arguments}
        paths = {name: str(tmp_path / f'{name}.npy') for name in files}
        return HyperspectralDataset(data_root=str(tmp_path), **paths, **arguments)

    return build


@pytest.mark.parametrize('window_size', [1, 4, 5])
@pytest.mark.parametrize('split', ['train', 'test', 'labelled', 'all'])
def test_items_are_windows_of_the_transformed_scene(make, split, window_size):
    dataset = make(split=split, window_size=window_size, pad_value=-7.0, fit_on='scene')
    labels = sum(MASKS.values()).astype(int)  # those of a fixed split
    chosen = {**MASKS, 'labelled_labels': labels, 'all_labels': np.ones(SIZE)}[f'{split}_labels']
    cube = dataset.band_transform(CUBE)
    assert len(dataset) == np.count_nonzero(chosen)
    for index, (row, col) in enumerate(np.argwhere(chosen)):
        item = dataset[index]
        assert item['coord'] == (row, col) and item['sample_idx'] == index
        assert item['img_shape'] == (window_size, window_size)
        assert item.get('gt_label', -1) == labels[row, col] - 1
        window = np.full((window_size, window_size, 3), -7, np.float32)
        for i, j in np.ndindex(window_size, window_size):
            y, x = row + i - window_size // 2, col + j - window_size // 2
            if 0 <= y < SIZE[0] and 0 <= x < SIZE[1]:
                window[i, j] = cube[y, x]
        assert item['img'].dtype == np.float32
        np.testing.assert_array_equal(item['img'], window)


def test_parts_share_one_scene_and_no_pixel(make):
    cfg = dict(mode='random', train=0.3, val=0.2, seed=1)
    train, val, test = (
        make(split=split, split_cfg=cfg, masks={}) for split in ('train', 'val', 'test')
    )
    assert train.padded is val.padded is test.padded and train.scene is test.scene
    assert train.parts is val.parts and train.band_transform is test.band_transform
    assert train.padded.shape == (28, 22, 3) and not train.padded.flags.writeable
    coords = [{item['coord'] for item in part} for part in (train, val, test)]
    assert sum(map(len, coords)) == len(set.union(*coords)) == np.count_nonzero(LABELS)
    other = make(split_cfg=dict(cfg, seed=2), masks={})
    assert other.padded is not train.padded and other.scene is train.scene
    # a pipeline may write to what it gets
    before = train[0]['img'].copy()
    train[0]['img'][:] = 0
    np.testing.assert_array_equal(train[0]['img'], before)


def test_a_changed_file_is_read_again(make):
    first = make()
    second = make(cube=CUBE[::-1] * 2)
    assert not np.array_equal(first.padded, second.padded)


PIXELS = {  # windows of 5 reach two pixels beyond rows 1 to 7, which train
    'a training pixel': (3, 4),
    'labelled, inside a training window': (9, 4),
    'unlabelled, inside a training window': (0, 4),
    'a test pixel': (18, 4),
    'unlabelled, beyond': (23, 4),
}
FITTED = {'train': {0}, 'train_window': {0, 1, 2}, 'labelled': {0, 3}, 'scene': {0, 1, 2, 3, 4}}


@pytest.mark.parametrize('fit_on', FITTED)
def test_the_fit_uses_exactly_the_promised_pixels(make, fit_on):
    """Labelled are the pixels of the two masks, as the split has them: row 9 is in neither."""
    state = make(fit_on=fit_on).band_transform.state_dict()
    for number, place in enumerate(PIXELS.values()):
        cube = CUBE.copy()
        cube[place] += 3
        changed = make(cube=cube, fit_on=fit_on).band_transform.state_dict() != state
        assert changed == (number in FITTED[fit_on]), list(PIXELS)[number]


def test_a_guarded_split_hides_the_test_pixels_from_the_training(make):
    """All of them at once, with the default of fit_on and a split of our own."""
    cfg = dict(mode='field_caps', train=0.2)
    first = make(split='test', split_cfg=cfg, masks={})
    cube = CUBE.copy()
    rows, cols = np.transpose([item['coord'] for item in first])
    cube[rows, cols] = 1000
    second = make(cube=cube, split_cfg=cfg, masks={})
    assert second.band_transform.state_dict() == first.band_transform.state_dict()
    third = make(cube=cube, split_cfg=cfg, masks={}, fit_on='scene')
    assert third.band_transform.state_dict() != first.band_transform.state_dict()


@pytest.mark.parametrize('fit_on', ['train_window', 'scene'])
def test_pixels_without_data_are_not_fitted(make, fit_on):
    cube = CUBE.copy()
    cube[:1] = 0
    mean = make(cube=cube, fit_on=fit_on).band_transform.mean
    last = 10 if fit_on == 'train_window' else 24
    np.testing.assert_allclose(mean, cube[1:last].astype(float).mean((0, 1)), rtol=1e-10)


def test_metainfo_is_plain_and_its_pickle_always_the_same(make, tmp_path):
    """mmengine compares pickles when it resumes, and a checkpoint goes through one."""
    train, test = make(drop_bands=[1]), make(split='test', drop_bands=[1])
    meta = train.metainfo
    assert meta['labels_hash'] == test.metainfo['labels_hash']
    assert meta | dict(band_transform=0, labels_hash=0) == dict(
        labels_hash=0,
        classes=('class 1', 'class 2'),
        palette=((255, 0, 0), (0, 255, 0)),
        scene='image',
        rgb_bands=meta['rgb_bands'],
        bands=5,
        keep_bands=None,
        drop_bands=[1],
        window_size=5,
        pad_mode='constant',
        pad_value=0.0,
        band_transform=0,
        fit_on='train_window',
        split=SPLIT,
    )

    def types(value):
        children = [*value, *value.values()] if isinstance(value, dict) else value
        nested = isinstance(value, dict | list | tuple)
        return {type(value)}.union(*map(types, children)) if nested else {type(value)}

    assert types(meta) <= {dict, list, tuple, str, int, float, bool, type(None)}
    file = io.BytesIO()
    torch.save(dict(meta=dict(dataset_meta=meta)), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)['meta']['dataset_meta']
    source = {'image': 'image', 'labels': 'labels', **{name: name for name in MASKS}}
    source = {name: str(tmp_path / f'{file}.npy') for name, file in source.items()}
    config = Config(
        dict(type='HyperspectralDataset', drop_bands=[1], split_cfg=SPLIT, **SPECTRA, **source)
    )
    built = DATASETS.build(Config.fromstring(config.pretty_text, '.py'))
    for other in (loaded, test.metainfo, built.metainfo):
        assert other == meta and pickle.dumps(other) == pickle.dumps(meta)
    restored = restore_band_transform(loaded['band_transform'])
    cube = np.delete(CUBE, 1, 2)
    np.testing.assert_array_equal(restored(cube), train.padded[2:-2, 2:-2])


def test_pickles_do_not_depend_on_which_objects_are_shared(make):
    pair = (1, 2)
    one, other = (
        make(metainfo=dict(word=word, pairs=pairs))
        for word, pairs in (('window', [pair, pair]), (''.join('window'), [(1, 2), tuple([1, 2])]))
    )
    assert pickle.dumps(one.metainfo) == pickle.dumps(other.metainfo)


def test_entries_of_ones_own_go_first(make):
    meta = make(metainfo=dict(classes=('a', 'b'), place='here')).metainfo
    assert meta['classes'] == ('a', 'b') and meta['place'] == 'here' and meta['bands'] == BANDS


@pytest.mark.parametrize('cfg', [None, [dict(type='Standardize'), dict(type='MinMax')]], ids=str)
def test_other_band_transforms(make, cfg):
    cube = np.repeat(CUBE, 7, 2) + np.random.default_rng(1).normal(size=(*SIZE, 42))
    dataset = make(cube=cube, band_transform=cfg, fit_on='scene')
    expected = build_band_transform(cfg or dict(type='PCA', n_components=36))
    expected.fit(dataset.scene.cube.reshape(-1, 42))
    assert dataset.band_transform.state_dict() == expected.state_dict()
    assert dataset[0]['img'].shape == (5, 5, 36 if cfg is None else 42)


def test_parts_of_a_data_set(make):
    dataset = make(split='all')
    assert isinstance(dataset.data_list, np.ndarray)  # no list of 207,400 dicts
    labels = sum(MASKS.values()).reshape(-1).astype(int)
    np.testing.assert_array_equal(dataset.get_gt_labels(), labels - 1)
    for indices, expected in (
        (3, [0, 1, 2]),
        (-2, [430, 431]),
        ([5, 100, 5], [5, 100, 5]),
        (np.array([7, 1]), [7, 1]),
        ([], []),
    ):
        part = dataset.get_subset(indices)
        assert part.padded is dataset.padded and len(part) == len(expected)
        other = make(split='all', indices=indices)
        again = make(split='all')
        again.get_subset_(indices)
        for index, pixel in enumerate(expected):
            for subset in (part, other, again):
                item = subset[index]
                assert item['coord'] == divmod(pixel, 18) and item['sample_idx'] == index
    assert len(dataset) == 432
    assert dataset[-1]['sample_idx'] == 431 and dataset[-1]['coord'] == (23, 17)
    assert dataset.get_cat_ids(0) == [] and dataset.get_cat_ids(18) == [0]
    assert 'img' not in dataset.get_data_info(0)
    with pytest.raises(IndexError):
        dataset[432]


def test_loaded_when_first_used(make):
    dataset = make(lazy_init=True)
    assert 'not loaded yet' in repr(dataset) and dataset.metainfo == {}
    assert len(dataset) == np.count_nonzero(MASKS['train_labels'])
    assert dataset.metainfo['bands'] == BANDS
    assert repr(dataset).splitlines() == [
        f'HyperspectralDataset: image, train, {len(dataset)} windows of 5 x 5 x 3',
        '    samples of each class: [63, 63]',
        '    PCA(n_components=3, whiten=True), fitted on train_window',
    ]


def test_split_report(make):
    text = make().split_report()
    assert 'fixed' in text and 'guard 2' in text and 'train_window' in text and 'class 2' in text
    alone = make(split='all', labels=None, masks={}, fit_on='scene').split_report()
    assert alone == 'image: no labels, all 432 pixels'


def test_what_mmengine_wraps(make):
    train, test = make(), make(split='test')
    both = ConcatDataset([train, test])
    assert len(both) == len(train) + len(test) and both.metainfo == train.metainfo
    assert both[len(train)]['coord'] == test[0]['coord']
    assert RepeatDataset(train, 2)[len(train) + 3]['coord'] == train[3]['coord']
    assert len(ClassBalancedDataset(train, 1e-3)) == len(train)
    check_dataset(both, 'train')


PIPELINE = [
    dict(type='mmvit_plugins.HSIRandomFlipRotate'),
    dict(type='mmpretrain.PackInputs', meta_keys=('coord', 'sample_idx')),
]


def test_loader_with_workers_gives_the_same_batches(make):
    """Packed by mmpretrain; turned windows are compared by what a turn leaves."""
    pytest.importorskip('mmpretrain.datasets')
    dataset = make(pipeline=PIPELINE)
    batches = [
        list(DataLoader(dataset, 50, collate_fn=default_collate, num_workers=workers))
        for workers in (0, 2)
    ]
    assert [len(batch['inputs']) for batch in batches[0]] == [50, 50, 26]
    for alone, helped in zip(*batches, strict=True):
        assert alone['inputs'].shape[1:] == (3, 5, 5) and alone['inputs'].is_contiguous()
        for key in ('gt_label', 'coord', 'sample_idx'):
            first, second = ([getattr(s, key) for s in b['data_samples']] for b in (alone, helped))
            assert first == second
        assert torch.equal(alone['inputs'][..., 2, 2], helped['inputs'][..., 2, 2])
        first, second = (b['inputs'].flatten(2).sort().values for b in (alone, helped))
        assert torch.equal(first, second)
    sample = batches[0][0]['data_samples'][30]
    row, col = sample.coord
    assert sample.gt_label.item() == LABELS[row, col] - 1
    centre = dataset.padded[row + 2, col + 2]
    np.testing.assert_array_equal(batches[0][0]['inputs'][30, :, 2, 2], centre)


def test_workers_do_not_draw_the_same_turns(make):
    """With mmengine's seeds of workers, which go to NumPy's global generator."""
    dataset = make(pipeline=PIPELINE[:1])
    loader = DataLoader(
        dataset.get_subset([0] * 40),
        1,
        num_workers=2,
        collate_fn=lambda batch: batch[0]['img'],
        worker_init_fn=lambda worker: worker_init_fn(worker, 2, 0, 0),
    )
    made = np.array(list(loader))
    assert (made[::2] != made[1::2]).any()
    np.testing.assert_array_equal(made, list(loader))


def test_scenes_without_labels(make):
    unlabelled = dict(labels=None, masks={})
    dataset = make(split='all', fit_on='scene', **unlabelled)
    assert len(dataset) == 432 and dataset.parts is None and 'gt_label' not in dataset[200]
    assert (dataset.get_gt_labels() == -1).all()
    for split in ('train', 'val', 'test', 'labelled'):
        with pytest.raises(DataError, match=f"has no labels, which split='{split}' needs"):
            make(split=split, fit_on='scene', **unlabelled)
    for fit_on in ('train', 'train_window', 'labelled'):
        with pytest.raises(DataError, match=f"has no labels, which fit_on='{fit_on}' needs"):
            make(split='all', fit_on=fit_on, **unlabelled)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (dict(split='training'), "split is 'training': give one of 'train', 'val', 'test'"),
        (dict(fit_on='all'), "fit_on is 'all': give one of 'train', 'train_window'"),
        (dict(pad_mode='mirror'), "pad_mode is 'mirror': give one of 'constant'"),
        (dict(pad_value=float('nan')), 'pad_value is nan'),
        (dict(window_size=0), 'window'),
        (dict(window_size=5.0), 'window'),
        (dict(window_size=19), 'window.* 24 x 18'),
        (dict(window_size=19, pad_mode='reflect'), 'window.* 24 x 18'),
        (dict(band_transform=dict(type='PCA', n_components=7)), '7 components .* the cube has 6'),
        (dict(band_transform=[]), 'list of band transforms is empty'),
        (dict(band_transform=dict(type='ICA')), "band_transform is {'type': 'ICA'}"),
        (dict(band_transform=dict(type='MinMax', perband=True)), "argument 'perband'"),
        (dict(split='val'), "no pixel is left for split='val' by .*'fixed'.* such as val=0.05"),
        (dict(split_cfg=dict(mode='fxed')), 'fxed'),
    ],
    ids=str,
)
def test_bad_arguments_are_named(make, arguments, words):
    with pytest.raises(ValueError, match=words):
        make(**arguments)


def test_fewer_fitting_pixels_than_components(make):
    cfg = dict(mode='random', train_per_class=1)
    with pytest.raises(DataError, match='at least 4 fitting pixels, but there are 2'):
        make(split_cfg=cfg, masks={}, fit_on='train')


def test_a_scene_of_one_pixel(make):
    one = dict(cube=CUBE[:1, :1], masks={}, fit_on='scene', split='all', split_cfg=None)
    identity = dict(band_transform=dict(type='Identity'))
    dataset = make(labels=None, window_size=1, **identity, **one)
    np.testing.assert_array_equal(dataset[0]['img'], CUBE[:1, :1])
    with pytest.raises(DataError, match='5 x 5 pixels is larger than the scene of 1 x 1'):
        make(labels=None, **one)
    with pytest.raises(DataError, match='at least 4 fitting pixels, but there are 1'):
        make(labels=None, window_size=1, **one)
    with pytest.raises(DataError, match='no test pixel'):
        make(labels=np.ones((1, 1), np.uint8), window_size=1, **identity, **one)


@pytest.mark.parametrize(
    ('name', 'values'),
    {
        'scene': [5, []],
        'data_root': [5],
        'image': [5, (1, 2), ('a',)],
        'labels': [5],
        'classes': ['ab', 5, [1, 2]],
        'palette': [5, [1, 2], [['a', 'b', 'c']] * 9],
        'label_map': [5, [1], {1: 'b'}, {1: None}, {1.5: 2}, {1: -1}],
        'split_cfg': [5, 'x', [1]],
        'pipeline': [5, 'x', [5]],
        'metainfo': [5, dict(classes='ab')],
        'indices': ['a', 2.5, [10**6]],
    }.items(),
)
def test_arguments_of_another_kind(tmp_path, name, values):
    arguments = save_halves(tmp_path, 2)
    for value in values:
        with pytest.raises(DataError, match='(is|must be|maps|names|classes=).*'):
            HyperspectralDataset(**{**arguments, name: value})


def save_halves(folder, highest, cube=None):
    """Save a scene of two halves, labelled 1 and ``highest``; return how it is loaded."""
    if cube is None:
        cube = np.random.RandomState(0).rand(12, 12, 5)
    np.save(folder / 'cube.npy', cube)
    np.save(folder / 'labels.npy', np.repeat([1, highest], 72).reshape(12, 12))
    files = {'image': str(folder / 'cube.npy'), 'labels': str(folder / 'labels.npy')}
    return dict(files, window_size=3, band_transform=dict(type='Standardize'))


def test_a_band_without_numbers_is_named(tmp_path):
    cube = np.random.RandomState(0).rand(12, 12, 5)
    cube[..., 3] = np.nan
    arguments = save_halves(tmp_path, 2, cube)
    with pytest.raises(DataError, match='no finite number in 1 of 5 bands, the first is band 3'):
        HyperspectralDataset(**arguments)
    assert len(HyperspectralDataset(**arguments, drop_bands=[3]))


def test_classes_without_training_pixels_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(dataset, 'print_log', lambda text, *_: said.append(text))
    for highest in (2, 9):
        HyperspectralDataset(**save_halves(tmp_path, highest))
    assert len(said) == 1
    assert said[0].startswith('7 of 9 classes of cube have no pixel to train on')
    assert 'class 2, class 3' in said[0]


def test_why_it_cannot_be_built_is_said_when_it_is_built_lazily(tmp_path):
    """As the runner asks for its list once more, to tell whether it is empty."""
    arguments = save_halves(tmp_path, 2)
    (tmp_path / 'cube.npy').write_text('no cube')
    lazy = HyperspectralDataset(**arguments, lazy_init=True)
    with pytest.raises(DataError, match='cube.npy cannot be read'):
        lazy.load_data_list()
