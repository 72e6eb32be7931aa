"""Pictures of predictions: what is written, in which colours, and what happens to damaged files."""

import json
import pickle
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from mmvit_plugins.apis import inference
from mmvit_plugins.apis.batches import for_each_picture
from mmvit_plugins.apis.inference import Segmentation
from mmvit_plugins.apis.pictures import find_pictures
from mmvit_plugins.errors import DataError, UserError
from mmvit_plugins.visualization import draw_classification, draw_segmentation, paint

PALETTE = [[40, 40, 40], [220, 40, 40], [40, 40, 220]]


def test_paint_mixes_known_classes_and_leaves_the_rest():
    image = np.full((1, 4, 3), 100, np.uint8)
    painted = paint(image, np.array([[0, 1, 2, 255]]), PALETTE, 0.5)
    expected = [[70, 70, 70], [160, 70, 70], [70, 70, 160], [100, 100, 100]]
    np.testing.assert_array_equal(painted[0], expected)


def test_the_legend_names_the_classes_present_and_fits():
    image = np.zeros((300, 300, 3), np.uint8)
    labels = np.zeros((300, 300), np.uint8)
    few = draw_segmentation(image, {'prediction': labels}, ['ground'] * 99, PALETTE * 33)
    labels[:50].flat = np.arange(99).repeat(50 * 300 // 99 + 1)[: 50 * 300]
    many = draw_segmentation(image, {'prediction': labels}, ['ground'] * 99, PALETTE * 33)
    assert few.width == many.width
    assert many.height > few.height + 100
    legend = np.asarray(few)[-20:, :200].reshape(-1, 3)
    assert (legend == PALETTE[0]).all(1).any()
    assert not (legend == PALETTE[1]).all(1).any()


@pytest.fixture
def checkpoint(miniature, tmp_path) -> Path:
    """Untrained weights of the miniature; the data set's names are the config's to tell."""
    pytest.importorskip('mmseg')
    from mmseg.apis import init_model

    model = init_model(str(miniature), device='cpu')
    # a random last layer far from zero: a prediction of several classes
    torch.nn.init.normal_(model.decode_head.conv_seg.weight)
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


def test_the_truth_is_read_as_the_data_set_says(tmp_path):
    pytest.importorskip('mmseg')
    Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).save(tmp_path / 'truth.png')
    for reduced, mapped, expected in (
        (False, None, [[0, 1], [2, 3]]),
        (True, None, [[255, 0], [1, 2]]),
        (False, {0: 1, 1: 0, 2: 255}, [[1, 0], [255, 3]]),
    ):
        dataset = SimpleNamespace(reduce_zero_label=reduced, label_map=mapped, ignore_index=255)
        owner = SimpleNamespace(dataset=dataset, classes='abcd')
        read = partial(Segmentation._read_truth, owner, tmp_path / 'truth.png')
        assert read((2, 2)).tolist() == expected
    with pytest.raises(UserError, match=r'has the size \(2, 2\) .*, the picture \(3, 2\)'):
        read((3, 2))
    owner.classes = 'abc'
    with pytest.raises(DataError, match='truth.png holds label 3'):
        read((2, 2))


def test_segmentation_folder(run, miniature, checkpoint, tmp_path):
    pictures = tmp_path / 'data/images/validation'
    truth = tmp_path / 'data/annotations/validation'
    done = run(
        'infer.py', miniature, checkpoint, pictures, '--out', 'o', '--truth', truth, '--opacity', 1
    )
    assert done.returncode == 0, done.stderr
    seen = set()
    for index in range(8):
        labels = np.asarray(Image.open(tmp_path / f'o/labels/{index}.png'))
        assert labels.shape == (64, 64)
        seen |= set(labels.flat)
        sheet = np.asarray(Image.open(tmp_path / f'o/{index}.png'))
        # three panels of 64 pixels, enlarged 4 times; 8 apart; under a title
        top = next(y for y in range(sheet.shape[0]) if (sheet[y, 8:264] != 255).all())
        panels = [sheet[top : top + 256 : 4, 8 + 264 * i : 264 + 264 * i : 4] for i in range(3)]
        image = np.asarray(Image.open(pictures / f'{index}.jpg'))
        known = np.asarray(Image.open(truth / f'{index}.png'))
        np.testing.assert_array_equal(panels[0], image)
        np.testing.assert_array_equal(panels[1], np.array(PALETTE)[known])
        np.testing.assert_array_equal(panels[2], np.array(PALETTE)[labels])
    assert len(seen) > 1

    # the same labels as mmseg's own evaluation writes: what is drawn is what is measured
    tested = run('test.py', miniature, checkpoint, '--work-dir', 'w', '--out', 'maps')
    assert tested.returncode == 0, tested.stderr
    for index in range(8):
        ours, theirs = (Image.open(tmp_path / f'{d}/{index}.png') for d in ('o/labels', 'maps'))
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_damaged_pictures_are_named_and_left_out(run, miniature, checkpoint, tmp_path):
    pictures = tmp_path / 'data/images/validation'
    (pictures / '3.jpg').write_bytes((pictures / '3.jpg').read_bytes()[:-300])
    (pictures / 'text.png').write_text('no picture')
    # Pillow reads it, OpenCV, which the pipeline decodes with, does not
    Image.new('RGB', (64, 64)).save(pictures / 'icon.png', format='ico', sizes=[(64, 64)])
    done = run('infer.py', miniature, checkpoint, pictures, '--out', 'o')
    assert done.returncode == 2
    assert len(list((tmp_path / 'o').glob('*.png'))) == 7
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: 3 of 10 pictures could not be read')
    assert str(pictures / 'icon.png') in last
    assert str(pictures / '3.jpg') in last
    assert str(pictures / 'text.png') in last


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['data/images/validation/0.jpg', '--truth', 'data'], 'has no annotation'),
        (['data/annotations/training/0.png', '--opacity', '2'], 'opacity=2.0'),
        (['empty'], 'has no pictures'),
        (['nix'], 'does not exist'),
        (['data', '--cfg-options', 'default_scope=mmengine'], 'set default_scope=mmseg'),
    ],
)
def test_wrong_arguments(run, miniature, checkpoint, tmp_path, arguments, words):
    (tmp_path / 'empty').mkdir()
    done = run('infer.py', miniature, checkpoint, *arguments, '--out', 'o')
    assert done.returncode == 2
    assert words in done.stderr.strip().splitlines()[-1]


CLASSIFIER = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
arch = dict(embed_dims=(16, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2,
            windows={3: 1, 5: 1})
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmvit_plugins.AFFormer', arch=arch, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=7, in_channels=16),
    data_preprocessor=dict(num_classes=7, mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=64), dict(type='PackInputs')]))
"""
TESTED = """
test_dataloader.update(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler'))
test_dataloader['dataset'].update(type='CustomDataset', data_root='pictures')
test_evaluator = dict(type='Accuracy')
test_cfg = dict()
"""


def test_classification_folder(run, tmp_path, make_scenes):
    pytest.importorskip('mmpretrain')
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpretrain import ImageClassificationInferencer
    from mmpretrain.registry import MODELS

    pictures = make_scenes(3) / 'images/validation'
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'weights.pth'
    config.write_text(CLASSIFIER)
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    model = MODELS.build(cfg.model)
    names = tuple(f'class {index}' for index in range(7))
    meta = {'dataset_meta': {'classes': names}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, checkpoint)

    done = run('infer.py', config, checkpoint, pictures, '--out', 'o', '--device', 'cpu')
    assert done.returncode == 0, done.stderr
    predictions = json.loads((tmp_path / 'o/predictions.json').read_text())
    inferencer = ImageClassificationInferencer(cfg, str(checkpoint), 'cpu')
    for index in range(3):
        expected = inferencer(str(pictures / f'{index}.jpg'))[0]['pred_scores']
        order = expected.argsort()[::-1][:5]
        entries = predictions[str(index)]
        assert [entry['label'] for entry in entries] == order.tolist()
        assert [entry['class'] for entry in entries] == [names[k] for k in order]
        np.testing.assert_allclose([e['score'] for e in entries], expected[order], atol=1e-5)
        assert Image.open(tmp_path / f'o/{index}.png').height > 256


def test_batches_give_what_single_pictures_give(tmp_path):
    """Of two sizes, in the order of the files."""
    pytest.importorskip('mmpretrain')
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    config, checkpoint = str(tmp_path / 'config.py'), str(tmp_path / 'weights.pth')
    Path(config).write_text(CLASSIFIER)
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(config).model)
    torch.nn.init.normal_(model.head.fc.weight, std=0.2)  # scores that tell the pictures apart
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(7):
        noise = np.random.default_rng(index).integers(0, 256, (6, 5 + index % 2 * 3, 3), np.uint8)
        Image.fromarray(noise.repeat(20, 0).repeat(20, 1)).save(folder / f'{index}.png')
    found = {}
    for name, batch_size, workers in (('single', 1, 0), ('batches', 3, 2)):
        out = tmp_path / name
        inference.infer(
            config, checkpoint, str(folder), str(out), batch_size=batch_size, workers=workers
        )
        found[name] = json.loads((out / 'predictions.json').read_text())
    assert [*found['batches']] == [*found['single']] == [*'0123456']
    scores = {}
    for name, entries in found.items():
        best = [sorted(entry, key=lambda one: one['label']) for entry in entries.values()]
        assert len({str(one) for one in best}) == 7
        scores[name] = [[(one['label'], one['score']) for one in entry] for entry in best]
    np.testing.assert_allclose(scores['batches'], scores['single'], atol=2e-6)


def odd_pictures(folder: Path) -> None:
    """Write one of each kind that readers differ in: turned by its camera, without colour."""
    rng = np.random.default_rng(0)
    turned = Image.Exif()
    turned[0x0112] = 6
    pixels = np.kron(rng.integers(0, 256, (4, 6, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(folder / '0.jpg', exif=turned)
    Image.fromarray(pixels[..., 0]).save(folder / '1.jpg')


LOAD = "dict(type='LoadImageFromFile')"


@pytest.mark.parametrize(
    ('old', 'new', 'height'),
    [
        (  # a pipeline that is not the variable's
            'test_dataloader = val_dataloader',
            "test_dataloader = {**val_dataloader, 'dataset': {**val_dataloader['dataset'], "
            "'pipeline': [test_pipeline[0], dict(type='Resize', scale=(96, 96), keep_ratio=True), "
            '*test_pipeline[1:]]}}',
            72,
        ),
        # normalised by what stands beside the model, where mmengine's runner finds it too
        ('train_cfg =', "data_preprocessor = model.pop('data_preprocessor')\ntrain_cfg =", 72),
        (LOAD, LOAD[:-1] + ", color_type='color_ignore_orientation')", 48),
        (LOAD, LOAD[:-1] + ", imdecode_backend='pillow', to_float32=True)", 72),
    ],
    ids=['pipeline', 'preprocessor', 'orientation', 'decoder'],
)
def test_labels_are_those_of_a_test(
    run, miniature, checkpoint, tmp_path, monkeypatch, old, new, height
):
    """Of pictures that are turned or grey too, however the config reads and prepares them."""
    seen = []

    def draw(image, maps, *rest):
        seen.append((image.shape[:2], maps['prediction'].shape))
        return draw_segmentation(image, maps, *rest)

    monkeypatch.setattr(inference, 'draw_segmentation', draw)
    pictures = tmp_path / 'data/images/validation'
    odd_pictures(pictures)
    for name, size in (('0', (height, 120 - height)), ('1', (48, 72))):
        labels = np.zeros(size, np.uint8)
        Image.fromarray(labels).save(tmp_path / f'data/annotations/validation/{name}.png')
    text = miniature.read_text()
    assert old in text
    miniature.write_text(text.replace(old, new))
    done = run('test.py', miniature, checkpoint, '--out', 'tested')
    assert done.returncode == 0, done.stderr
    done = run('infer.py', miniature, checkpoint, pictures, '--out', 'inferred')
    assert done.returncode == 0, done.stderr
    found = {path.name: np.array(Image.open(path)) for path in (tmp_path / 'tested').iterdir()}
    assert len(found) == 8 and found['0.png'].shape == (height, 120 - height)
    assert len(np.unique(found['0.png'])) > 1
    for name, labels in found.items():
        inferred = np.array(Image.open(tmp_path / 'inferred/labels' / name))
        np.testing.assert_array_equal(inferred, labels)
    assert len(seen) == 8 and all(picture == labels for picture, labels in seen)


@pytest.mark.parametrize('options', ['', ", color_type='color_ignore_orientation'"])
def test_scores_are_those_of_a_test(run, tmp_path, monkeypatch, options):
    """And those of the pictures that are done are kept when the rest is interrupted."""
    pytest.importorskip('mmpretrain')
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpretrain.registry import MODELS

    config, checkpoint = tmp_path / 'config.py', tmp_path / 'weights.pth'
    config.write_text(CLASSIFIER.replace(LOAD, LOAD[:-1] + options + ')') + TESTED)
    pictures = tmp_path / 'pictures/class_0'
    pictures.mkdir(parents=True)
    odd_pictures(pictures)
    Image.open(pictures / '0.jpg').quantize(8).save(pictures / '2.png')
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(config).model)
    torch.nn.init.normal_(model.head.fc.weight)  # scores that tell the pictures apart
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    done = run('test.py', config, checkpoint, '--out', 'tested.pkl')
    assert done.returncode == 0, done.stderr
    infer = ('infer.py', config, checkpoint, pictures, '--out')
    done = run(*infer, 'inferred')
    assert done.returncode == 0, done.stderr
    with open(tmp_path / 'tested.pkl', 'rb') as file:
        tested = {Path(entry['img_path']).stem: entry['pred_score'] for entry in pickle.load(file)}
    predictions = json.loads((tmp_path / 'inferred/predictions.json').read_text())
    assert predictions.keys() == tested.keys() == {'0', '1', '2'}
    for name, entries in predictions.items():
        scores = [tested[name][entry['label']].item() for entry in entries]
        np.testing.assert_allclose([entry['score'] for entry in entries], scores, atol=1e-6)

    def draw(image, lines):
        if (tmp_path / 'stopped/1.png').exists():
            raise KeyboardInterrupt
        return draw_classification(image, lines)

    monkeypatch.setattr(inference, 'draw_classification', draw)
    done = run(*infer, 'stopped')
    assert done.returncode == 'interrupted'
    kept = json.loads((tmp_path / 'stopped/predictions.json').read_text())
    assert kept == {name: predictions[name] for name in '01'}


def test_what_is_done_is_kept_when_interrupted(tmp_path):
    """And the file is written once, not once for each picture."""
    names = [str(index) for index in range(4)]
    for name in names:
        Image.new('RGB', (8, 8)).save(tmp_path / f'{name}.png')
    pictures = find_pictures(str(tmp_path))

    def write(path, name):
        assert not (tmp_path / 'predictions.json').exists()
        if name == '2':
            raise KeyboardInterrupt
        return {'name': name}

    with pytest.raises(KeyboardInterrupt):
        for_each_picture(pictures, str(tmp_path), write)
    kept = json.loads((tmp_path / 'predictions.json').read_text())
    assert kept == {name: {'name': name} for name in names[:2]}
