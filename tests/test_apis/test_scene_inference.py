"""Maps of whole scenes: the same as window by window, in bounded memory, on the test pixels."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.io
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from torch import nn

from mmvit_plugins.apis import scene_files, scene_inference, scene_source
from mmvit_plugins.apis.scene_inference import HSIInferencer
from mmvit_plugins.datasets.hyperspectral import TEST, TRAIN
from mmvit_plugins.datasets.hyperspectral.dataset import HyperspectralDataset
from mmvit_plugins.datasets.hyperspectral.synthetic import generate_scene
from mmvit_plugins.errors import DataError, UserError
from mmvit_plugins.evaluation import confusion_matrix
from mmvit_plugins.visualization import maps
from mmvit_plugins.visualization.maps import ERRORS, map_scale

HEIGHT, WIDTH, BANDS, CLASSES = 24, 19, 7, 3
DATASET = {'type': 'mmvit_plugins.HyperspectralDataset'}


@MODELS.register_module()
class FlatWindow(nn.Module):
    """A backbone that gives each place in the window weights of its own: a shift is seen."""

    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features, 6)

    def forward(self, x):
        return (self.layer(x.flatten(1)),)


def model_config(size, channels=4, classes=CLASSES):
    return {
        'type': 'mmpretrain.ImageClassifier',
        'data_preprocessor': {'type': 'mmpretrain.ClsDataPreprocessor'},
        'backbone': {'type': 'mmengine.FlatWindow', 'features': channels * size**2},
        'head': {
            'type': 'mmpretrain.LinearClsHead',
            'num_classes': classes,
            'in_channels': 6,
            'loss': {'type': 'mmpretrain.CrossEntropyLoss'},
        },
    }


@pytest.fixture
def files(tmp_path):
    """Write a generated scene: a cube and labels; return what a data set needs to load them."""
    cube, labels = generate_scene(HEIGHT, WIDTH, BANDS, CLASSES, seed=3, fields_per_class=2)
    np.save(tmp_path / 'field.npy', cube)
    np.save(tmp_path / 'truth.npy', labels)
    return {'image': str(tmp_path / 'field.npy'), 'labels': str(tmp_path / 'truth.npy')}


@pytest.fixture
def train(tmp_path):
    """Return a function that makes a data set and an untrained network for its windows.

    The network's checkpoint is what a training would have written.
    """
    pytest.importorskip('mmpretrain')

    def make(window_size=5, **settings):
        dataset = HyperspectralDataset(
            **{
                'split_cfg': {'mode': 'random', 'train': 0.2},
                'band_transform': {'type': 'PCA', 'n_components': 4},
                'window_size': window_size,
                'fit_on': 'scene',
                **settings,
            },
        )
        cfg = Config({'model': model_config(window_size), 'default_scope': 'mmpretrain'})
        model = MODELS.build(cfg.model).eval()
        nn.init.normal_(model.head.fc.weight)  # far from zero: a prediction of several classes
        path = tmp_path / 'weights.pth'
        meta = {'dataset_meta': dataset.metainfo}
        torch.save({'state_dict': model.state_dict(), 'meta': meta}, path)
        return SimpleNamespace(dataset=dataset, model=model, cfg=cfg, checkpoint=str(path))

    return make


@pytest.fixture
def said(monkeypatch):
    """Collect what is logged."""
    messages = []
    for module in (scene_inference, scene_source, scene_files):
        monkeypatch.setattr(module, 'print_log', lambda text, *_: messages.append(text))
    return messages


def window_by_window(model, arguments, **settings):
    """Predict each pixel by itself, as a data set hands it out; labels and scores."""
    dataset = HyperspectralDataset(**{**arguments, **settings, 'split': 'all'})
    labels, scores = [], []
    for sample in dataset:
        window = torch.from_numpy(sample['img']).permute(2, 0, 1)[None]
        with torch.no_grad():
            prediction = model.predict(window)[0]
        labels.append(prediction.pred_label.item() + 1)
        scores.append(prediction.pred_score.numpy())
    shape = dataset.scene.cube.shape[:2]
    return np.reshape(labels, shape), np.reshape(scores, (*shape, -1))


@pytest.mark.parametrize(
    ('window_size', 'padding'),
    [
        (5, {'pad_mode': 'constant', 'pad_value': 0.7}),
        (4, {'pad_mode': 'symmetric'}),
        (7, {'pad_mode': 'reflect'}),
        (1, {'pad_mode': 'edge'}),
    ],
)
def test_equals_window_by_window_for_any_batch_and_strip(
    files, train, tmp_path, monkeypatch, window_size, padding
):
    settings = {
        'window_size': window_size,
        'drop_bands': (2,),
        'band_transform': [{'type': 'Standardize'}, {'type': 'PCA', 'n_components': 4}],
        'fit_on': 'scene',
        **padding,
    }
    trained = train(**files, **settings)
    labels, scores = window_by_window(trained.model, files, **settings)
    assert len(np.unique(labels)) == CLASSES
    row = 4 * WIDTH * BANDS
    for rows, batch_size in ((1000, 10_000), (window_size + 3, 7), (window_size + 1, 64), (0, 30)):
        monkeypatch.setattr(scene_inference, 'STRIP_BYTES', rows * row)
        inferencer = HSIInferencer(trained.cfg, trained.checkpoint, 'cpu', batch_size)
        result = inferencer(files['image'], scores=tmp_path / 'scores.npy')
        np.testing.assert_array_equal(result['labels'], labels)
        np.testing.assert_allclose(result['scores'], scores, atol=1e-3)
    written = np.load(tmp_path / 'scores.npy', mmap_mode='r')
    assert written.dtype == np.float16
    np.testing.assert_array_equal(written, result['scores'])


def test_memory_holds_strips_and_not_the_scene(train, tmp_path, monkeypatch, capsys):
    cube, labels = generate_scene(600, 40, 40, CLASSES, seed=1, fields_per_class=2)
    for name, array in (('long', cube), ('short', cube[:50]), ('truth', labels)):
        np.save(tmp_path / f'{name}.npy', array)
    trained = train(image=str(tmp_path / 'long.npy'), labels=str(tmp_path / 'truth.npy'))
    monkeypatch.setattr(scene_inference, 'STRIP_BYTES', 20 * 40 * 40 * 4)
    spans = []

    def recorded(path, variable):
        cube = open_cube(path, variable)

        class Recorded:
            shape = cube.shape

            def __getitem__(self, rows):
                spans.append(rows.stop - rows.start)
                return cube[rows]

        return Recorded()

    open_cube = scene_source.open_cube
    monkeypatch.setattr(scene_source, 'open_cube', recorded)
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu', batch_size=64)
    inferencer(tmp_path / 'short.npy')  # what is imported and made once
    spans.clear()
    capsys.readouterr()
    tracemalloc.start()
    try:
        inferencer(tmp_path / 'long.npy')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(spans) <= 20
    assert len(spans) == 600 // 15
    # three bands for the picture, labels, masks, and some strips of 128 kB; windows would be 9.6 MB
    assert peak < cube.nbytes / 3, peak
    bar = capsys.readouterr().out
    assert '24000/24000' in bar
    assert bar.count('task/s') <= 101


@pytest.mark.parametrize('rows', [1000, 8])
def test_pixels_without_data_are_not_computed(train, tmp_path, said, monkeypatch, rows):
    monkeypatch.setattr(scene_inference, 'STRIP_BYTES', rows * 4 * WIDTH * BANDS)
    cube, labels = generate_scene(HEIGHT, WIDTH, BANDS, CLASSES, seed=3, fields_per_class=2)
    cube[4, 4, 1], cube[4, 5] = np.nan, np.inf
    cube[20, 3, 0] = -np.inf
    labels[4, 4], labels[4, 5], labels[10, 10] = 1, 2, 0
    cube[10, 10] = 0
    labels[11, 11], cube[11, 11] = 1, 0  # labelled: it will be tested, so it is computed
    np.save(tmp_path / 'field.npy', cube)
    np.save(tmp_path / 'truth.npy', labels)
    files = {'image': str(tmp_path / 'field.npy'), 'labels': str(tmp_path / 'truth.npy')}
    trained = train(**files)
    expected, _ = window_by_window(
        trained.model,
        files,
        window_size=5,
        band_transform={'type': 'PCA', 'n_components': 4},
        fit_on='scene',
    )
    broken = [4, 4, 20, 10], [4, 5, 3, 10]
    expected[broken] = 0
    result = HSIInferencer(trained.model, trained.checkpoint, 'cpu')(*files.values())
    np.testing.assert_array_equal(result['labels'], expected)
    assert any(text.startswith('4 pixels of field have no data') for text in said)
    # unlabelled in training, so the split is the same only if they are unlabelled here
    split = trained.dataset.parts
    tested = split.parts == TEST
    confusion = confusion_matrix(split.labels[tested] - 1, expected[tested] - 1, CLASSES)
    np.testing.assert_array_equal(result['metrics']['confusion'], confusion)


def test_numbers_are_of_the_test_pixels_of_the_checkpoint(train, files, tmp_path):
    trained = train(**files)
    split = trained.dataset.parts
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    out = tmp_path / 'maps/field.png'
    result = inferencer(files['image'], files['labels'], out)
    labels, metrics = result['labels'], result['metrics']
    tested = split.parts == TEST
    expected = confusion_matrix(split.labels[tested] - 1, labels[tested] - 1, CLASSES)
    np.testing.assert_array_equal(metrics['confusion'], expected)
    assert metrics['pixels'] == tested.sum() < (split.labels > 0).sum()
    assert metrics['OA'] == pytest.approx(100 * np.trace(expected) / tested.sum())
    assert metrics['part'] == "test pixels of the checkpoint's split (random, seed 0)"

    # the pictures hold labels, truth and errors exactly
    palette, scale = trained.dataset.scene.palette, map_scale(labels.shape)
    assert scale > 1

    def check_picture(kind, expected, palette):
        picture = np.asarray(Image.open(out.with_name(f'field_{kind}.png')).convert('RGB'))
        colours = np.array([(0, 0, 0), *palette])[expected]
        np.testing.assert_array_equal(picture, colours.repeat(scale, 0).repeat(scale, 1))

    check_picture('pred', labels, palette)
    check_picture('truth', split.labels, palette)
    errors = np.where(split.labels == labels, 1, 2) * (split.labels > 0)
    errors[split.parts == TRAIN] = 3
    check_picture('error', errors, tuple(ERRORS.values()))
    np.testing.assert_array_equal(np.load(out.with_suffix('.npy')), labels)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        *('field.npy', 'field.png', 'field_error.png', 'field_pred.png', 'field_truth.png')
    ]


def test_more_than_255_classes_come_through_to_the_files(train, files, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    classes = 300
    cube = np.random.default_rng(0).random((HEIGHT, WIDTH, BANDS)).astype(np.float32)
    truth = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % classes + 1
    np.save(files['image'], cube)
    np.save(files['labels'], truth.astype(np.uint16))
    trained = train(**files)
    model = MODELS.build(model_config(5, classes=classes)).eval()
    inferencer = HSIInferencer(model, device='cpu', meta=trained.dataset.metainfo)
    chosen = torch.arange(HEIGHT * WIDTH) % classes  # what a perfect network would say
    logits = iter(torch.eye(classes)[chosen].split(256))
    inferencer._forward = lambda windows: next(logits)
    out = tmp_path / 'maps/field.png'
    save, where = tmp_path / 'maps/more.mat', tmp_path / 'maps/place.tif'
    labels = inferencer(files['image'], files['labels'], out, save=save)['labels']
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, truth)
    np.testing.assert_array_equal(np.load(out.with_suffix('.npy')), truth)
    np.testing.assert_array_equal(scipy.io.loadmat(save)['labels'], truth)
    place = {'crs': 'EPSG:32632', 'transform': rasterio.Affine(10, 0, 0, 0, -10, 0)}
    scene_files.save_labels(where, labels, trained.dataset.metainfo['palette'], place)
    with rasterio.open(where) as file:
        np.testing.assert_array_equal(file.read(1), truth)
        assert file.colormap(1)[300][:3] == trained.dataset.metainfo['palette'][299]
    scale = map_scale(truth.shape)
    colours = np.array([(0, 0, 0), *trained.dataset.metainfo['palette']])[truth]
    for kind in ('pred', 'truth'):
        picture = np.asarray(Image.open(out.with_name(f'field_{kind}.png')).convert('RGB'))
        np.testing.assert_array_equal(picture[::scale, ::scale], colours)


def test_other_scenes_have_no_training_pixels(train, files, tmp_path):
    trained = train(**files)
    cube, labels = generate_scene(15, 21, BANDS, CLASSES, seed=4, fields_per_class=2)
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    result = inferencer(cube, labels.astype(np.int64))
    assert result['metrics']['pixels'] == (labels > 0).sum()
    assert 'none left out' in result['metrics']['part']
    assert inferencer(cube)['metrics'] is None


def test_the_scene_of_the_training_is_known_under_any_file_name(train, files, tmp_path):
    """By its labels; else training pixels would be tested."""
    trained = train(**files)
    (tmp_path / 'renamed.npy').write_bytes((tmp_path / 'field.npy').read_bytes())
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    tested = (trained.dataset.parts.parts == TEST).sum()
    labels = np.load(files['labels'])
    for scene in (tmp_path / 'renamed.npy', np.load(files['image'])):
        assert inferencer(scene, labels)['metrics']['pixels'] == tested
    row, column = np.argwhere(labels > 0)[0]
    labels[row, column] = labels[row, column] % CLASSES + 1
    result = inferencer(tmp_path / 'renamed.npy', labels)
    assert result['metrics']['pixels'] == (labels > 0).sum()


def test_the_image_of_the_config_comes_with_its_masks_and_label_map(train, files, tmp_path):
    first, second = (np.load(files['labels']) for _ in range(2))
    first[:, WIDTH // 2 :], second[:, : WIDTH // 2] = 0, 0
    masks = {}
    for name, labels in (('train_labels', first), ('test_labels', second)):
        np.save(tmp_path / f'{name}.npy', labels)
        masks[name] = str(tmp_path / f'{name}.npy')
    known = np.load(files['labels'])
    known[:, 0] = 0  # as some masks do, the training's goes beyond the scene's labels
    np.save(files['labels'], known)
    loading = {**files, **masks, 'label_map': {3: 2}}
    trained = train(**loading, split_cfg={'mode': 'fixed'})
    assert len(trained.dataset.metainfo['classes']) == 2
    cfg = Config({**trained.cfg, 'model': model_config(5, classes=2)})
    model = MODELS.build(cfg.model)
    meta = {'dataset_meta': trained.dataset.metainfo}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, trained.checkpoint)
    cfg.test_dataloader = {'dataset': {**DATASET, **loading}}
    result = HSIInferencer(cfg, trained.checkpoint, 'cpu')(files['image'], mask='labelled')
    np.testing.assert_array_equal(result['labels'] > 0, (first > 0) | (second > 0))
    assert (first[:, 0] > 0).any()
    assert result['metrics']['pixels'] == (second > 0).sum()
    assert result['metrics']['confusion'].shape == (2, 2)


def test_masks(train, files, tmp_path):
    trained = train(**files)
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    everything = inferencer(files['image'])['labels']
    truth = np.load(files['labels'])
    labelled = inferencer(*files.values(), mask='labelled')
    np.testing.assert_array_equal(labelled['labels'], np.where(truth > 0, everything, 0))
    chosen = np.zeros((HEIGHT, WIDTH), bool)
    chosen[3:5, 2:9] = True
    result = inferencer(files['image'], mask=chosen)['labels']
    np.testing.assert_array_equal(result, np.where(chosen, everything, 0))
    tested = trained.dataset.parts.parts == TEST
    metrics = inferencer(*files.values(), mask=chosen)['metrics']
    assert metrics['pixels'] == (tested & chosen).sum() > 0
    out = tmp_path / 'o/map.png'
    assert inferencer(*files.values(), out, mask=chosen & ~tested)['metrics'] is None
    assert out.exists()


def test_the_picture_of_a_panel_is_of_the_scene(train, files, tmp_path, monkeypatch):
    trained = train(**files, bands=(6, 0, 1, 2, 4))
    shown = []

    def recorded(picture):
        shown.append(picture)
        return stretch(picture)

    stretch = scene_files.stretch
    monkeypatch.setattr(scene_files, 'stretch', recorded)
    monkeypatch.setattr(scene_inference, 'STRIP_BYTES', 10 * 4 * WIDTH * BANDS)
    monkeypatch.setattr(maps, 'MAX_SIDE', 10)
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    inferencer(files['image'], out=tmp_path / 'map.png')
    scene = trained.dataset.scene
    np.testing.assert_array_equal(shown[0], scene.cube[::3, ::3, scene.rgb_bands])


def test_files_of_labels(train, files, tmp_path):
    trained = train(**files)
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    for name, read in (
        ('a/map.npy', np.load),
        ('b/map.mat', lambda path: scipy.io.loadmat(path)['labels']),
    ):
        labels = inferencer(files['image'], save=tmp_path / name)['labels']
        np.testing.assert_array_equal(read(tmp_path / name), labels)


def test_geotiff_lies_where_the_scene_lies(train, files, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    trained = train(**files)
    cube = np.load(files['image'])
    transform = rasterio.transform.from_origin(500_000, 4_500_000, 2.5, 2.5)
    about = {'count': BANDS, 'dtype': 'float32', 'crs': 'EPSG:32616', 'transform': transform}
    with rasterio.open(tmp_path / 'a.tif', 'w', 'GTiff', WIDTH, HEIGHT, **about) as file:
        file.write(cube.transpose(2, 0, 1))
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    out = tmp_path / 'o/map.png'
    result = inferencer(tmp_path / 'a.tif', out=out, georeference=True)
    with rasterio.open(out.with_suffix('.tif')) as file:
        np.testing.assert_array_equal(file.read(1), result['labels'])
        assert (file.crs, file.transform) == (rasterio.CRS.from_epsg(32616), transform)
        assert file.nodata == 0
        assert file.colormap(1)[2][:3] == tuple(trained.dataset.scene.palette[1])
    assert not out.with_name('map_truth.png').exists()


WRONG = [
    ({'scene': np.ones((9, 9, BANDS + 1))}, UserError, '8 bands .* was trained on 7'),
    ({'scene': np.ones((1, 1, BANDS))}, UserError, '1 x 1 pixels, .* windows of 5 x 5'),
    ({'scene': np.ones((9, 9))}, UserError, r'shape \(9, 9\): give a cube'),
    ({'mask': 'labelled'}, UserError, 'comes without labels'),
    ({'mask': 'train'}, UserError, "mask='train'"),
    ({'mask': np.ones((2, 3), bool)}, UserError, r'mask has the shape \(2, 3\)'),
    ({'georeference': True, 'out': 'm.png'}, UserError, 'field has no georeference'),
    ({'georeference': True}, UserError, 'give out too'),
    ({'out': 'map.jpg'}, UserError, r'out is map.jpg: its ending must be \.png'),
    ({'save': 'map.txt'}, UserError, r'save is map.txt: .* \.npy or \.mat or \.tif'),
    ({'scores': 's.mat'}, UserError, 'scores is s.mat'),
    ({'labels': 'small.npy'}, DataError, 'small.npy is 4 x 5, the cube in field is 24 x 19'),
    ({'labels': 'high.npy'}, UserError, 'go up to 9, the network knows the classes 1 to 3'),
    (
        {'labels': np.full((HEIGHT, WIDTH), 1.5)},
        DataError,
        'labels .* holds 1.5, which is no label',
    ),
    ({'labels': np.full((HEIGHT, WIDTH), np.nan)}, DataError, 'holds nan, which is no label'),
    ({'labels': np.ones((WIDTH, HEIGHT), int)}, DataError, '19 x 24, .* transposed, save it'),
    ({'scene': 'nix.npy'}, DataError, 'there is no file nix.npy'),
]


@pytest.mark.parametrize(('arguments', 'kind', 'words'), WRONG, ids=[row[2] for row in WRONG])
def test_what_cannot_be_mapped(train, files, tmp_path, monkeypatch, arguments, kind, words):
    trained = train(**files)
    monkeypatch.chdir(tmp_path)
    np.save('small.npy', np.ones((4, 5), np.uint8))
    np.save('high.npy', np.full((HEIGHT, WIDTH), 9))
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    monkeypatch.setattr(inferencer, '_forward', None)  # before anything is computed
    before = sorted(tmp_path.iterdir())
    with pytest.raises(kind, match=words) as caught:
        inferencer(**{'scene': 'field.npy', **arguments})
    assert '\n' not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_bands_of_the_training_are_taken(train, files, tmp_path):
    """A scene that lacks those dropped, or has others, is refused."""
    trained = train(**files, drop_bands=(0, 6))
    inferencer = HSIInferencer(trained.model, trained.checkpoint, 'cpu')
    with pytest.raises(DataError, match='drop_bands names band 6, the cube has bands 0 to 4'):
        inferencer(np.load(files['image'])[..., 1:6])
    cfg = Config(
        {**trained.cfg, 'test_dataloader': {'dataset': {**DATASET, **files, 'drop_bands': [0]}}}
    )
    with pytest.raises(UserError, match=r'drop_bands is \[0\] in the config, and \(0, 6\)'):
        HSIInferencer(cfg, trained.checkpoint, 'cpu')


def test_checkpoints_that_make_no_map(train, files, tmp_path):
    trained = train(**files)
    state = torch.load(trained.checkpoint, weights_only=False)

    def rejects(words, cfg=trained.cfg, **options):
        torch.save(state, tmp_path / 'other.pth')
        with pytest.raises(UserError, match=words):
            HSIInferencer(cfg, str(tmp_path / 'other.pth'), 'cpu', **options)

    rejects('batch_size=0', batch_size=0)
    bias = state['state_dict'].pop('head.fc.bias')
    rejects('does not fit the model .*head.fc.bias')
    state['state_dict']['head.fc.bias'] = bias
    steps = [{'type': 'mmvit_plugins.HSIRandomFlipRotate'}, {'type': 'PackInputs'}]
    data = {'dataset': {**DATASET, **files, 'pipeline': steps}}
    rejects('test pipeline has .*FlipRotate', Config({**trained.cfg, 'test_dataloader': data}))
    del state['meta']['dataset_meta']['band_transform']
    rejects('other.pth carries no band_transform of its training')
    with pytest.raises(UserError, match='a config alone has no trained weights'):
        HSIInferencer(trained.cfg)
    with pytest.raises(UserError, match='the model carries no band_transform'):
        HSIInferencer(trained.model)


def test_a_model_of_other_classes_is_refused(train, files):
    trained = train(**files)
    model = MODELS.build(model_config(5, classes=CLASSES + 1))
    inferencer = HSIInferencer(model, device='cpu', meta=trained.dataset.metainfo)
    with pytest.raises(UserError, match=r'\(4,\) numbers .* knows 3 classes'):
        inferencer(files['image'])


def test_the_meta_that_get_model_leaves_is_taken(train, files):
    trained = train(**files)
    expected = HSIInferencer(trained.model, trained.checkpoint, 'cpu')(files['image'])['labels']
    trained.model._dataset_meta = trained.dataset.metainfo
    result = HSIInferencer(trained.model, device='cpu')(files['image'])
    np.testing.assert_array_equal(result['labels'], expected)
