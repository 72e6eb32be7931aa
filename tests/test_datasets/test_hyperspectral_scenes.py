"""Scenes: the rows hold what is published, files are found, checked and shared."""

import gc
import logging
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
import scipy.io

from mmvit_plugins.datasets.hyperspectral import scenes
from mmvit_plugins.datasets.hyperspectral.catalogue import SCENES, SceneInfo
from mmvit_plugins.datasets.hyperspectral.scenes import (
    default_palette,
    load_scene,
    select_bands,
)
from mmvit_plugins.datasets.hyperspectral.synthetic import generate_scene
from mmvit_plugins.errors import DataError

CUBE = np.random.RandomState(0).randint(1, 4000, (4, 6, 8)).astype(np.uint16)
LABELS = np.arange(24).reshape(4, 6) % 4  # 0 to 3, six pixels each

ROW = SceneInfo(
    title='Small Field',
    shape=(4, 6, 8),
    classes=('oak', 'elm', 'ash'),
    palette=((255, 0, 0), (0, 255, 0), (0, 0, 255)),
    rgb_bands=(6, 3, 1),
    counts=(6, 6, 6),
    image=(('Field_cube.mat', 'cube'), ('other.mat', 'cube')),
    labels=(('Field_gt.mat', 'gt'),),
    train_labels=(('Field_gt.mat', 'tr'),),
    test_labels=(('Field_gt.mat', 'te'),),
    other_maps=((17, 'an older map'),),
    page='Fields of the World',
)


@pytest.fixture
def warned(monkeypatch):
    """What is logged as a warning."""
    messages = []

    def keep(message, logger, level):
        assert logger == 'current' and level == logging.WARNING
        messages.append(message)

    monkeypatch.setattr(scenes, 'print_log', keep)
    return messages


@pytest.fixture
def own(tmp_path):
    """Write one's own two files; return the arguments that load them."""

    def write(cube=CUBE, labels=LABELS, **more):
        scipy.io.savemat(tmp_path / 'cube.mat', {'cube': cube})
        scipy.io.savemat(tmp_path / 'gt.mat', {'gt': labels})
        return {'image': tmp_path / 'cube.mat', 'labels': tmp_path / 'gt.mat', **more}

    return write


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A row 'small-field' with its files; returns the folder of the scenes."""
    monkeypatch.setitem(SCENES, 'small-field', ROW)

    def write(folder='', image='Field_cube.mat', gt='Field_gt.mat', variable='gt', labels=LABELS):
        (tmp_path / folder).mkdir(exist_ok=True)
        scipy.io.savemat(tmp_path / folder / image, {'cube': CUBE})
        scipy.io.savemat(tmp_path / folder / gt, {variable: labels})
        return tmp_path

    return write


# --- the rows


def test_totals_of_the_rows():
    """As published; a wrong digit in a count changes its total."""
    totals = {name: (len(row.counts), sum(row.counts)) for name, row in SCENES.items()}
    assert totals == {
        'indian-pines': (16, 10249),
        'pavia-u': (9, 42776),
        'salinas': (16, 54129),
        'houston2013': (15, 15029),
        'houston2018-crop': (12, 5671),
        'synthetic': (0, 0),
    }


@pytest.mark.parametrize('name', SCENES)
def test_rows_fit_together(name):
    row = SCENES[name]
    count = len(row.classes)
    assert len(set(row.classes)) == count and len(row.palette) == count
    assert len(row.counts) in (0, count) and min(row.counts, default=1) > 0
    assert sum(row.counts) <= row.shape[0] * row.shape[1]
    assert len(set(row.rgb_bands)) == 3 and min(row.rgb_bands) >= 0
    assert max(row.rgb_bands) < row.shape[2]
    assert bool(row.page) == bool(row.image) == (name != 'synthetic')


@pytest.mark.parametrize(
    ('palette', 'least'),
    [*((row.palette, 63) for row in SCENES.values()), (default_palette(19), 55)]
    + [(default_palette(count), 5) for count in (20, 33, 100, 255)],
)
def test_colours_are_told_apart_and_none_is_black(palette, least):
    colours = np.array(((0, 0, 0), *palette))
    assert colours.min() >= 0 and colours.max() <= 255
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    np.fill_diagonal(distance, 999)
    assert distance.min() > least


def test_the_generated_scene():
    scene = load_scene('synthetic', data_root='nowhere')
    cube, labels = generate_scene()
    np.testing.assert_array_equal(scene.cube, cube)
    np.testing.assert_array_equal(scene.labels, labels)
    assert scene.labels.dtype == np.int64 and scene.cube.shape == SCENES['synthetic'].shape
    assert np.unique(labels).tolist() == list(range(len(scene.classes) + 1))
    with pytest.raises(DataError, match='takes no files'):
        load_scene('synthetic', image='cube.mat')


# --- finding files


@pytest.mark.parametrize(
    ('folder', 'image', 'gt'),
    [
        ('', 'Field_cube.mat', 'Field_gt.mat'),
        ('small_field', 'field_cube.mat', 'FIELD_GT.MAT'),
        ('Small-Field', 'Other.mat', 'field_gt.mat'),
    ],
)
def test_files_are_found(known, warned, folder, image, gt):
    scene = load_scene('small-field', known(folder, image, gt))
    np.testing.assert_array_equal(scene.cube, CUBE)
    np.testing.assert_array_equal(scene.labels, LABELS)
    assert scene.cube.dtype == np.float32 and scene.labels.dtype == np.int64
    assert scene.train_labels is None and scene.test_labels is None
    assert (scene.name, scene.classes, scene.palette) == ('small-field', ROW.classes, ROW.palette)
    assert scene.rgb_bands == (6, 3, 1) and scene.georeference is None
    assert not warned


def test_a_file_of_the_right_name_will_do(known):
    """Whatever its one variable is called."""
    root = known(variable='ground_truth')
    np.testing.assert_array_equal(load_scene('small-field', root).labels, LABELS)


@pytest.mark.parametrize('layout', ['one file', 'gt file'])
def test_fixed_parts_of_houston(tmp_path, monkeypatch, warned, layout):
    """Both layouts that have them; without a map of all, their union is it."""
    rows, columns = np.indices(LABELS.shape)
    train, test = LABELS * (rows % 2), LABELS * (1 - rows % 2)
    row = SCENES['houston2013']
    counts = np.bincount(LABELS.ravel(), minlength=16)[1:]
    small = {**vars(row), 'shape': CUBE.shape, 'counts': tuple(counts)}
    monkeypatch.setitem(SCENES, 'houston2013', SceneInfo(**small))
    if layout == 'one file':
        scipy.io.savemat(tmp_path / 'Houston.mat', {'input': CUBE, 'TR': train, 'TE': test})
    else:
        scipy.io.savemat(tmp_path / 'houston.mat', {'houston': CUBE})
        both = {'houston_gt_tr': train, 'houston_gt_te': test}
        scipy.io.savemat(tmp_path / 'houston_gt.mat', both)
    scene = load_scene('houston2013', tmp_path)
    np.testing.assert_array_equal(scene.cube, CUBE)
    np.testing.assert_array_equal(scene.train_labels, train)
    np.testing.assert_array_equal(scene.test_labels, test)
    np.testing.assert_array_equal(scene.labels, LABELS)
    assert len(scene.classes) == 15 and not warned


def test_parts_that_contradict_each_other(own):
    files = own()
    files['train_labels'] = files.pop('labels')
    files['test_labels'] = files['image'].parent / 'test.npy'
    np.save(files['test_labels'], np.where(LABELS == 1, 2, 0))
    with pytest.raises(DataError, match='differ in 6 pixels'):
        load_scene(**files)


def test_files_given_go_before_those_of_the_scene(known, tmp_path):
    root = known()
    np.save(tmp_path / 'fixed.npy', LABELS * (LABELS == 1))
    scene = load_scene('small-field', root, train_labels='fixed.npy', labels=['Field_gt.mat', 'gt'])
    np.testing.assert_array_equal(scene.train_labels, LABELS * (LABELS == 1))


def test_missing_files_are_named(known, tmp_path):
    root = known('small_field')
    with pytest.raises(DataError) as caught:
        (root / 'small_field' / 'Field_cube.mat').unlink()
        load_scene('small-field', root)
    for words in (
        'the cube of Small Field is missing: Field_cube.mat or other.mat is looked for in',
        f'{root} and {root / "small_field"}',
        '"Fields of the World"',
    ):
        assert words in str(caught.value)
    known('small_field')
    (root / 'small_field' / 'Field_gt.mat').unlink()
    with pytest.raises(DataError, match='the label map of Small Field is missing: Field_gt.mat'):
        load_scene('small-field', root)
    with pytest.raises(DataError, match='no file nothing.mat for image, nor is it in .*: correct'):
        load_scene(image='nothing.mat', data_root=tmp_path)
    with pytest.raises(DataError, match='the cube of Indian Pines is missing: Indian_pines_corr'):
        load_scene('indian-pines', tmp_path / 'nowhere')


def test_no_such_scene():
    with pytest.raises(DataError, match="no scene 'pavia': allowed are indian-pines, pavia-u"):
        load_scene('pavia')
    with pytest.raises(DataError, match='no scene is given: set scene to one of'):
        load_scene()
    with pytest.raises(DataError, match=r"image must be a file or \(file, variable\), not \('a',"):
        load_scene(image=('a', 'b', 'c'))


# --- checks against the row


def test_counts_that_differ_warn(known, warned):
    labels = LABELS.copy()
    labels[0, 1:3] = 0
    root = known(labels=labels)
    np.testing.assert_array_equal(load_scene('small-field', root).labels, labels)
    (message,) = warned
    assert (
        'the label map of Small Field has 16 labelled pixels, the published one 18; 2 classes '
        'differ, the first is oak with 5 in place of 6; results cannot be compared'
    ) in message


def test_another_map_of_the_scene_is_recognised(known, warned):
    labels = LABELS.copy()
    labels[0, 1] = 0
    load_scene('small-field', known(labels=labels))
    assert 'with 5 in place of 6; this is an older map;' in warned[0]
    assert dict(SCENES['indian-pines'].other_maps).keys() == {10366}


def test_another_size_warns(known, warned, tmp_path):
    root = known()
    scipy.io.savemat(tmp_path / 'Field_cube.mat', {'cube': CUBE[..., :5]})
    scene = load_scene('small-field', root)
    assert warned == ['the cube of Small Field is 4 x 6 x 5, the published one is 4 x 6 x 8']
    assert scene.rgb_bands == (4, 3, 1)


def test_classes_beyond_the_row(known):
    with pytest.raises(DataError, match='labels of Small Field go up to 4, it has classes 1 to 3'):
        load_scene('small-field', known(labels=LABELS + 1))


def test_a_finer_map_is_made_coarser(known, monkeypatch, warned):
    """The class of more than half of the finer pixels, none where there is no such."""
    monkeypatch.setitem(SCENES, 'small-field', SceneInfo(**{**vars(ROW), 'finer_labels': 2}))
    fine = LABELS.repeat(2, 0).repeat(2, 1)
    fine[1::2, 1::2] = 3  # one of four
    fine[0:2, 2:4] = [[1, 2], [1, 2]]  # half and half
    expected = LABELS.copy()
    expected[0, 1] = 0
    scene = load_scene('small-field', known(labels=fine))
    np.testing.assert_array_equal(scene.labels, expected)
    np.testing.assert_array_equal(load_scene('small-field', known()).labels, LABELS)


# --- own files


@pytest.mark.parametrize('kind', ['mat', 'mat-7.3', 'npy', 'npz'])
@pytest.mark.parametrize('dtype', [np.uint8, np.float64, np.int16])
def test_own_files(tmp_path, kind, dtype):
    files = {}
    for name, array in (('image', CUBE), ('labels', LABELS.astype(dtype))):
        path = files[name] = tmp_path / f'{name}.{kind.split("-")[0]}'
        if kind == 'mat':
            scipy.io.savemat(path, {'a': array})
        elif kind == 'mat-7.3':
            with h5py.File(path, 'w') as file:
                file['a'] = array.T
        elif kind == 'npy':
            np.save(path, array)
        else:
            np.savez(path, a=array)
    scene = load_scene(**files)
    np.testing.assert_array_equal(scene.cube, CUBE)
    np.testing.assert_array_equal(scene.labels, LABELS)
    assert scene.cube.dtype == np.float32 and scene.labels.dtype == np.int64
    assert scene.cube.flags.c_contiguous and scene.labels.flags.c_contiguous
    assert (scene.name, scene.classes) == ('image', ('class 1', 'class 2', 'class 3'))
    assert scene.palette == default_palette(3) and scene.rgb_bands == (6, 4, 2)


def test_both_in_one_file(tmp_path):
    """The label map is known by its size beside scalars, which MATLAB keeps as 1 x 1."""
    path = tmp_path / 'both.mat'
    scipy.io.savemat(path, {'cube': CUBE, 'gt': LABELS, 'scale': 2.0, 'axis': np.arange(8)})
    scene = load_scene(image=(str(path), 'cube'), labels=str(path))
    np.testing.assert_array_equal(scene.labels, LABELS)


def test_names_and_colours(own):
    files = own()
    colours = [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    scene = load_scene(**files, classes=['a', 'b', 'c', 'd'], palette=colours)
    assert scene.classes == ('a', 'b', 'c', 'd')
    assert scene.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12))
    with pytest.raises(DataError, match='2 class names are given for cube, which has classes 1 to'):
        load_scene(**files, classes=['a', 'b'])
    for wrong in (
        *(colours, colours[:2] + [[1, 2, 3]], colours[:2] + [[0, 0, 0]]),
        *(colours[:2] + [[1, 2]], colours[:2] + [[1, 2, 256]], colours[:2] + [[1, 2, -1]]),
    ):
        with pytest.raises(DataError, match='must be 3 different colours .* none of them black'):
            load_scene(**files, palette=wrong)
    with pytest.raises(DataError, match="no palette 'jet'"):
        load_scene(**files, palette='jet')


def test_colours_by_name(known):
    scene = load_scene('small-field', known(), palette='spy')
    assert scene.palette == default_palette(3) != ROW.palette[:2]
    with pytest.raises(DataError, match='4 class names are given for small-field'):
        load_scene('small-field', known(), classes=['a', 'b', 'c', 'd'])


def test_without_labels(own):
    files = own()
    scene = load_scene(image=files['image'])
    assert scene.labels is None and scene.classes == () == scene.palette
    assert load_scene(image=files['image'], classes=['a', 'b']).classes == ('a', 'b')


def test_a_scene_of_one_pixel(own):
    scene = load_scene(**own(np.full((1, 1, 5), 7.0), np.ones((1, 1))))
    assert scene.cube.tolist() == [[[7.0] * 5]] and scene.labels.tolist() == [[1]]
    assert scene.rgb_bands == (3, 2, 1)


# --- bands and classes left out


def test_bands(own):
    files = own()
    scene = load_scene(**files, bands=[7, 2, 3])
    np.testing.assert_array_equal(scene.cube, CUBE[..., [7, 2, 3]])
    scene = load_scene(**files, drop_bands=[0, 6])
    np.testing.assert_array_equal(scene.cube, CUBE[..., [1, 2, 3, 4, 5, 7]])
    assert scene.rgb_bands == (4, 3, 1)  # 5 (6 is dropped), 4 and 2 of the file
    assert select_bands(4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'bands': [0, 8]}, 'bands names band 8, the cube has bands 0 to 7'),
        ({'drop_bands': [-1]}, 'drop_bands names band -1, the cube has bands 0 to 7'),
        ({'bands': [1, 1]}, 'bands names a band twice'),
        ({'bands': [0.5]}, 'bands must be a list of whole numbers'),
        ({'bands': 3}, 'bands must be a list of whole numbers'),
        ({'bands': []}, 'bands leaves no band of 8'),
        ({'drop_bands': list(range(8))}, 'drop_bands leaves no band of 8'),
        ({'bands': [1], 'drop_bands': [2]}, 'bands and drop_bands are both given'),
    ],
)
def test_wrong_bands(own, wrong, words):
    with pytest.raises(DataError, match=words):
        load_scene(**own(), **wrong)


def test_classes_left_out_and_joined(known):
    root = known()
    scene = load_scene('small-field', root, label_map={2: 0})
    np.testing.assert_array_equal(scene.labels, np.array([0, 1, 0, 2])[LABELS])
    assert scene.classes == ('oak', 'ash') and scene.palette == (ROW.palette[0], ROW.palette[2])
    scene = load_scene('small-field', root, label_map={'3': 1}, classes=['tree', 'elm'])
    np.testing.assert_array_equal(scene.labels, np.array([0, 1, 2, 1])[LABELS])
    assert scene.classes == ('tree', 'elm') and scene.palette == ROW.palette[:2]
    scene = load_scene('small-field', root, label_map={1: 9})
    np.testing.assert_array_equal(scene.labels, np.array([0, 3, 1, 2])[LABELS])
    assert scene.classes == ('elm', 'ash', 'oak')


def test_a_number_for_ignored_pixels(own):
    """255 in a map of two classes: they alone get names."""
    files = own(labels=np.where(LABELS == 3, 255, LABELS))
    scene = load_scene(**files, label_map={255: 0}, classes=['a', 'b'])
    np.testing.assert_array_equal(scene.labels, LABELS * (LABELS < 3))
    assert load_scene(**files, label_map={255: 0}).classes == ('class 1', 'class 2')


@pytest.mark.parametrize(
    ('label_map', 'words'),
    [
        ({4: 0}, 'label_map maps 4 to 0: it maps classes 1 to 3'),
        ({0: 1}, 'label_map maps 0 to 1'),
        ({1: -1}, 'label_map maps 1 to -1'),
        ({1: 0, 2: 0, 3: 0}, 'label_map leaves no class'),
    ],
)
def test_wrong_label_maps(own, label_map, words):
    with pytest.raises(DataError, match=words):
        load_scene(**own(), label_map=label_map)


# --- bad input


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (LABELS.T, 'is 6 x 4, the cube in .* is 4 x 6 with 8 bands: one of the two is transposed'),
        (LABELS[:3], 'is 3 x 6, the cube in .* is 4 x 6 with 8 bands: give files of the same'),
        (np.zeros((6, 8)), 'the cube seems to have its bands first'),
        (LABELS + 0.5, 'holds 0.5, which is no label: allowed are whole numbers'),
        (np.where(LABELS == 2, np.nan, 1), 'holds nan, which is no label'),
        (LABELS - 1, 'holds -1, which is no label: .* 0 for unlabelled'),
        (LABELS * 1e30, r'holds .*e\+30, which is no label'),
    ],
)
def test_label_maps_that_do_not_fit(own, labels, words):
    with pytest.raises(DataError, match=rf'^the label map in .*gt\.mat .*{words}'):
        load_scene(**own(labels=labels))


def test_a_transposed_map_among_scalars_is_recognised(tmp_path, own):
    files = own()
    scipy.io.savemat(tmp_path / 'gt.mat', {'gt': LABELS.T, 'scale': 2.0})
    with pytest.raises(DataError, match='one of the two is transposed'):
        load_scene(**files)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_that_are_not_finite(own, warned, value):
    cube = CUBE.astype(np.float64)
    cube[1, 2, 3] = cube[1, 3, 0] = cube[3, 5, :] = value
    files = own(cube)
    scene = load_scene(**files, train_labels=files['labels'])
    bad = np.zeros((4, 6), bool)
    bad[1, 2:4] = bad[3, 5] = True
    assert (scene.cube[bad] == 0).all()
    np.testing.assert_array_equal(scene.cube[~bad], CUBE[~bad])
    for labels in (scene.labels, scene.train_labels):
        np.testing.assert_array_equal(labels, np.where(bad, 0, LABELS))
    assert ['cube.mat has 3 pixels with values that are not finite' in text for text in warned] == [
        True
    ]


def test_a_broken_band_that_is_dropped_does_no_harm(own, warned):
    cube = np.where(np.arange(8) == 5, np.nan, CUBE)
    scene = load_scene(**own(cube), drop_bands=[5])
    np.testing.assert_array_equal(scene.labels, LABELS)
    assert not warned


# --- sharing and memory


def test_one_scene_a_process(own):
    files = own()
    scene = load_scene(**files)
    assert load_scene(**files) is scene
    assert load_scene(**{**files, 'image': str(files['image'])}) is scene
    other = load_scene(**files, bands=np.arange(7))
    assert other is not scene and other is load_scene(**files, bands=np.arange(7))
    for array in (scene.cube, scene.labels):
        with pytest.raises(ValueError, match='read-only'):
            array[0] = 0


def test_a_file_that_changed_is_read_again(own):
    scene = load_scene(**own())
    again = load_scene(**own(labels=np.ones((4, 6), np.uint8)))
    assert again is not scene and again.classes == ('class 1',)


def test_long_lists_are_told_apart(own):
    """NumPy shortens them when it prints them."""
    files = own(np.ones((1, 1, 1200)) * np.arange(1200), np.ones((1, 1)))
    first, second = np.arange(1200), np.arange(1200)
    second[[500, 501]] = 501, 500
    scene = load_scene(**files, bands=first)
    assert load_scene(**files, bands=second).cube[0, 0, 500] == 501 != scene.cube[0, 0, 500]


def test_a_scene_that_nobody_holds_is_forgotten(own):
    load_scene(**own())
    gc.collect()
    assert not [key for key in scenes._LOADED if 'cube.mat' in key]


def test_memory_is_one_cube_of_float32(tmp_path):
    """A float64 file is never in memory as such; it is sparse here."""
    shape = (300, 400, 80)
    np.lib.format.open_memmap(tmp_path / 'cube.npy', 'w+', np.float64, shape)[0, 0, 0] = np.nan
    tracemalloc.start()
    try:
        scene = load_scene(image=tmp_path / 'cube.npy')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scene.cube.nbytes <= peak < 1.5 * scene.cube.nbytes


# --- where it lies


def test_georeference(tmp_path, monkeypatch, warned):
    (tmp_path / 'a.img').write_bytes(CUBE.tobytes())
    info = '{UTM, 1, 1, 500000, 4480000, 20, 20, 16, North, WGS-84}'
    (tmp_path / 'a.hdr').write_text(
        'ENVI\nlines = 4\nsamples = 6\nbands = 8\ndata type = 12\ninterleave = bip\n'
        f'map info = {info}\n'
    )
    where = load_scene(image=tmp_path / 'a.hdr').georeference
    assert where['transform'] == (20, 0, 500000, 0, -20, 4480000)
    gc.collect()
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    scene = load_scene(image=tmp_path / 'a.hdr')
    np.testing.assert_array_equal(scene.cube, CUBE)
    assert scene.georeference is None
    assert 'pip install rasterio; maps of it will not say where they lie' in warned[0]
