"""``tools/map_scene.py``: a scene by name or file, what is written, and wrong arguments."""

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from mmvit_plugins.datasets.hyperspectral import TRAIN
from mmvit_plugins.datasets.hyperspectral.dataset import HyperspectralDataset
from mmvit_plugins.visualization.maps import ERRORS, map_scale

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor'),
    backbone=dict(
        type='mmvit_plugins.LSGAViT', in_channels=5, window_size=3, embed_dims=8, depths=(1,),
        num_heads=(2,), out_type='avg_featmap'),
    head=dict(
        type='LinearClsHead', num_classes=6, in_channels=8, loss=dict(type='CrossEntropyLoss')))
test_dataloader = dict(dataset=dict(
    type='mmvit_plugins.HyperspectralDataset', scene='synthetic', split='test', window_size=3,
    band_transform=dict(type='PCA', n_components=5), split_cfg=dict(mode='field_caps'),
    pipeline=[dict(type='PackInputs')]))
"""


@pytest.fixture
def trained(tmp_path):
    """Write a config and its checkpoint, as if trained on the generated scene; the data set."""
    pytest.importorskip('mmpretrain')
    from mmengine.config import Config
    from mmpretrain import get_model

    (tmp_path / 'config.py').write_text(CONFIG)
    cfg = Config.fromfile(tmp_path / 'config.py')
    settings = {key: cfg.test_dataloader.dataset[key] for key in ('window_size', 'split_cfg')}
    transform = cfg.test_dataloader.dataset.band_transform
    dataset = HyperspectralDataset('synthetic', band_transform=transform, **settings)
    model = get_model(cfg)
    torch.nn.init.normal_(model.head.fc.weight)
    meta = {'dataset_meta': dataset.metainfo}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, tmp_path / 'weights.pth')
    return dataset


def test_a_scene_by_name_and_by_file(run, trained, tmp_path):
    scene, split = trained.scene, trained.parts
    done = run(
        *('map_scene.py', 'config.py', 'weights.pth', 'synthetic', '--out', 'o/map.png'),
        *('--save', 'o/map.mat', '--device', 'cpu'),
    )
    assert done.returncode == 0, done.stderr
    assert '5120/5120' in done.stdout
    labels = np.load(tmp_path / 'o/map.npy')
    assert labels.shape == (80, 64)
    assert labels.min() > 0
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / 'o/map.mat')['labels'], labels)
    errors = np.where(scene.labels == labels, 1, 2) * (scene.labels > 0)
    errors[split.parts == TRAIN] = 3
    for kind, palette, expected in (
        ('pred', scene.palette, labels),
        ('truth', scene.palette, scene.labels),
        ('error', tuple(ERRORS.values()), errors),
    ):
        picture = np.asarray(Image.open(tmp_path / f'o/map_{kind}.png').convert('RGB'))
        scale = map_scale(labels.shape)
        colours = np.array([(0, 0, 0), *palette])[expected]
        np.testing.assert_array_equal(picture, colours.repeat(scale, 0).repeat(scale, 1))
    panel = Image.open(tmp_path / 'o/map.png')
    assert panel.width > 4 * 64 * map_scale(labels.shape)

    # the same spectra in a file of the user's
    variables = {'cube': scene.cube, 'other': scene.cube[:3, :3], 'gt': scene.labels, 'no': 1}
    scipy.io.savemat(tmp_path / 'mine.mat', variables)
    done = run(
        *('map_scene.py', 'config.py', 'weights.pth', 'mine.mat', '--variable', 'cube'),
        *('--out', 'f/map.png', '--labels', 'mine.mat', '--labels-variable', 'gt'),
        *('--mask', 'labelled', '--batch-size', '100', '--scores', 'f/scores.npy'),
    )
    assert done.returncode == 0, done.stderr
    expected = np.where(scene.labels > 0, labels, 0)
    np.testing.assert_array_equal(np.load(tmp_path / 'f/map.npy'), expected)
    assert np.load(tmp_path / 'f/scores.npy').shape == (80, 64, 6)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['synthetic', '--out', 'map.tif'], 'out is map.tif: its ending must be .png'),
        (['synthetic', '--georeference'], 'synthetic has no georeference'),
        (['one.npy'], 'one has 1 x 1 pixels, the network looks at windows of 3 x 3'),
        (['bands.npy'], 'bands has 47 bands'),
        (['fine.npy', '--mask', 'labelled'], 'fine comes without labels'),
        (['fine.npy', '--labels', 'flat.npy'], 'flat.npy is 4 x 5, the cube in fine is 9 x 8'),
        (['synthetic', '--cfg-options', 'model.head.num_classes=5'], 'does not fit the model'),
        (
            ['synthetic', '--cfg-options', 'test_dataloader.dataset.drop_bands="[1]"'],
            'drop_bands is [1] in the config, and None in the training',
        ),
    ],
)
def test_wrong_arguments(run, trained, tmp_path, arguments, words):
    shapes = {'one': (1, 1, 48), 'bands': (9, 8, 47), 'fine': (9, 8, 48), 'flat': (4, 5)}
    for name, shape in shapes.items():
        np.save(tmp_path / f'{name}.npy', np.ones(shape, np.float32))
    out = [] if '--out' in arguments else ['--out', 'map.png']
    done = run('map_scene.py', 'config.py', 'weights.pth', arguments[0], *out, *arguments[1:])
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert words in last
    assert not (tmp_path / 'map.png').exists()


def test_a_checkpoint_without_its_band_transform(run, trained, tmp_path):
    state = torch.load(tmp_path / 'weights.pth', weights_only=False)
    torch.save({'state_dict': state['state_dict']}, tmp_path / 'bare.pth')
    done = run('map_scene.py', 'config.py', 'bare.pth', 'synthetic', '--out', 'map.png')
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: bare.pth carries no band_transform of its training')
