"""Pictures of importance: what is drawn where, from which input, in the configs of every host."""

import numpy as np
import pytest
import torch
from detection import detection_config, need_mmdet, retinanet
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmvit_plugins.analysis import build_model
from mmvit_plugins.apis.importance import choose_block
from mmvit_plugins.apis.importance import visualize_importance as visualize
from mmvit_plugins.apis.pictures import to_picture
from mmvit_plugins.apis.predictor import is_for_annotations
from mmvit_plugins.checkpoint import CheckpointMismatchError
from mmvit_plugins.errors import UserError
from mmvit_plugins.models import SGFormer
from mmvit_plugins.models.backbones.sgformer import Guidance
from mmvit_plugins.visualization import REGIONS, SHADES, draw_importance

BLUE, YELLOW, RED = REGIONS.values()
ARCH = {
    'embed_dims': (8, 8, 16, 16),
    'num_heads': (2, 2, 2, 2),
    'depths': (2, 2, 4, 1),
    'mlp_ratio': 2,
}
CLASSIFIER = f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmvit_plugins.SGFormer', arch={ARCH}, img_size=64, out_indices=(3,)),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=7, in_channels=16))
data_preprocessor = dict(
    type='ClsDataPreprocessor', num_classes=7, mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True)
test_dataloader = dict(dataset=dict(type='ImageNet', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=96),
    dict(type='CenterCrop', crop_size=80), dict(type='PackInputs')]))
"""
SEGMENTOR = f"""
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3, bgr_to_rgb=True,
        size=(64, 64), test_cfg=dict(size_divisor=32)),
    backbone=dict(type='mmvit_plugins.SGFormer', arch={ARCH}, img_size=64),
    decode_head=dict(
        type='FCNHead', in_channels=16, in_index=3, channels=8, num_convs=1, num_classes=3),
    test_cfg=dict(mode='whole'))
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(72, 56)),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(
    type='RepeatDataset', times=1, dataset=dict(type='BaseSegDataset', pipeline=test_pipeline)))
"""


def write_model(tmp_path, text: str):
    """Write a config and drawn weights for it; return both paths, and the model."""
    config, checkpoint = tmp_path / 'config.py', tmp_path / 'weights.pth'
    config.write_text(text)
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)
    if 'data_preprocessor' in cfg:
        cfg.model.data_preprocessor = cfg.data_preprocessor
    model = build_model(cfg)
    for parameter in model.parameters():  # attention that is far from even
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    return str(config), str(checkpoint), model


@pytest.fixture
def picture(tmp_path) -> str:
    """Write a picture, 90 high and 110 wide."""
    path = tmp_path / 'picture.png'
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)
    Image.fromarray(pixels.repeat(10, 0).repeat(10, 1)).save(path)
    return str(path)


def seen_by_backbone(model, run) -> torch.Tensor:
    """Return the input of a model's backbone while ``run`` is called."""
    seen = []
    handle = model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run()
    handle.remove()
    return seen[0]


def assert_shows(path, model, inputs, size, block=None):
    """The picture at ``path`` shows these inputs (RGB, normalised by 128 and 64), cut to size."""
    pixels = inputs[0, :, : size[0], : size[1]] * 64 + 128
    image = pixels.round().byte().permute(1, 2, 0).numpy()
    expected = draw_importance(image, choose_block(model.backbone.guidance(inputs), block))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(expected))


def panels(sheet: Image.Image, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut the two pictures out of the first column of a sheet."""
    pixels = np.asarray(sheet)[:, 8 : 8 + width]
    filled = (pixels != 255).any(2).all(1)
    starts = [y for y in range(len(filled)) if filled[y : y + height].all() and not filled[y - 1]]
    first, second = (y for y in starts if y + height <= len(filled))
    return pixels[first : first + height], pixels[second : second + height]


def test_tokens_lie_over_their_pixels():
    """Sides that the stride does not divide; the right half and, below, a last row are special."""
    image = np.full((500, 470, 3), 100, np.uint8)
    importance = np.full((32, 30), 0.02, np.float32)
    importance[:, 20:] = 0.08
    regions = np.zeros((32, 30), np.int64)
    regions[31], regions[0, 29] = 1, 2
    sheet = draw_importance(image, {'a stage': (importance, regions, 16)}, opacity=1)
    over, outlined = panels(sheet, 500, 470)
    assert (over[:, :320] == SHADES[0]).all() and (over[:, 320:] == SHADES[255]).all()
    np.testing.assert_array_equal(outlined[496 - 2 : 496], np.broadcast_to(BLUE, (2, 470, 3)))
    np.testing.assert_array_equal(outlined[496 : 496 + 2], np.broadcast_to(YELLOW, (2, 470, 3)))
    assert (outlined[:14, 464:466] == RED).all() and (outlined[:14, 462:464] == BLUE).all()
    tint = (2 * 100 + np.array(BLUE)) / 3  # of the grey of 100
    np.testing.assert_array_equal(
        outlined[20:490, :460], np.broadcast_to(tint.round(), (470, 460, 3))
    )


def test_opacity_keeps_or_hides_the_picture():
    image = np.random.default_rng(0).integers(0, 255, (450, 450, 3), np.uint8)
    maps = {'a stage': (np.full((113, 113), 0.04), np.zeros((113, 113), int), 4)}
    over, outlined = panels(draw_importance(image, maps, opacity=0), 450, 450)
    grey = image.mean(2, keepdims=True).repeat(3, 2).round()
    np.testing.assert_array_equal(over, grey)
    np.testing.assert_array_equal(outlined, grey)
    over, _ = panels(draw_importance(image, maps, opacity=1), 450, 450)
    assert len(np.unique(over.reshape(-1, 3), axis=0)) == 1  # an even map has one colour


def test_the_legend_is_as_the_maps(monkeypatch):
    """Ends of the scale, numbers of tokens, two regions or three; small pictures are enlarged."""
    texts = []
    draw_text = draw_importance.__globals__['ImageDraw'].ImageDraw.text
    monkeypatch.setattr(
        'PIL.ImageDraw.ImageDraw.text',
        lambda self, xy, text, *args, **kw: (
            texts.append(text),
            draw_text(self, xy, text, *args, **kw),
        ),
    )
    importance = np.linspace(0.01, 0.11, 400).reshape(20, 20)
    two, three = (
        np.searchsorted(ends, np.arange(400), 'right').reshape(20, 20)
        for ends in ([200], [90, 300])
    )
    maps = {'two': (importance, two, 5), 'three': (importance, three, 5)}
    sheet = draw_importance(np.zeros((100, 100, 3), np.uint8), maps)
    assert sheet.height > 2 * 500 and sheet.width > 2 * 500
    assert [text for text in texts if text.startswith('0.')][:2] == ['0.011', '0.109']
    numbers = [text for text in texts if text.split()[0] in REGIONS]
    assert numbers == ['minor 200', 'salient 200', 'minor 90', 'middle 210', 'salient 100']


def test_blocks_are_counted_from_one_and_the_last_is_the_default():
    stages = [
        Guidance(*(torch.arange(n).view(1, n, 1, 1).expand(2, n, 3, 3) for _ in range(2)))
        for n in (1, 2, 8)
    ]

    def chosen(block):
        found = choose_block(stages, block)
        return {title: (maps[0].item(0), maps[1].shape, maps[2]) for title, maps in found.items()}

    assert chosen(None) == {
        'stage 1, hybrid block 1 of 1': (0, (3, 3), 4),
        'stage 2, hybrid block 2 of 2': (1, (3, 3), 8),
        'stage 3, hybrid block 8 of 8': (7, (3, 3), 16),
    }
    assert chosen(2) == {
        'stage 2, hybrid block 2 of 2': (1, (3, 3), 8),
        'stage 3, hybrid block 2 of 8': (1, (3, 3), 16),
    }


def test_classifier_with_a_cropping_pipeline(run, tmp_path, picture):
    pytest.importorskip('mmpretrain')
    config, checkpoint, model = write_model(tmp_path, CLASSIFIER)
    done = run('visualize_importance.py', config, checkpoint, picture, '--out', 'o')
    assert done.returncode == 0, done.stderr
    from mmpretrain import ImageClassificationInferencer

    inferencer = ImageClassificationInferencer(config, checkpoint, 'cpu')
    inputs = seen_by_backbone(inferencer.model, lambda: inferencer(picture))
    assert inputs.shape == (1, 3, 80, 80)
    assert_shows(tmp_path / 'o/picture.png', model, inputs, (80, 80))

    done = run(
        'visualize_importance.py',
        config,
        checkpoint,
        picture,
        '--out',
        'o',
        '--block',
        2,
        '--overwrite',
    )
    assert done.returncode == 0, done.stderr
    assert_shows(tmp_path / 'o/picture.png', model, inputs, (80, 80), block=2)

    done = run(
        'visualize_importance.py',
        config,
        checkpoint,
        picture,
        '--out',
        'o',
        '--block',
        3,
        '--overwrite',
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert last.endswith('the stages have 1, 1, 2 hybrid-scale blocks, give a number from 1 to 2')


def test_segmentor_on_a_folder(tmp_path, picture):
    """Padding of the data preprocessor is not drawn; damaged pictures are named."""
    pytest.importorskip('mmseg')
    from mmseg.apis import inference_model, init_model

    config, checkpoint, model = write_model(tmp_path, SEGMENTOR)
    folder = tmp_path / 'pictures/deep'
    folder.mkdir(parents=True)
    for name in ('a.png', 'b.png'):
        (folder / name).write_bytes((tmp_path / 'picture.png').read_bytes())
    (folder / 'damaged.png').write_text('no picture')
    with pytest.raises(UserError, match=r'1 of 3 pictures could not be read.*damaged\.png'):
        visualize(config, checkpoint, str(tmp_path / 'pictures'), str(tmp_path / 'o'))

    host = init_model(config, device='cpu')
    host.load_state_dict(model.state_dict())
    inputs = seen_by_backbone(host, lambda: inference_model(host, picture))
    assert inputs.shape == (1, 3, 64, 96)  # 56 x 72 and padding
    for name in ('a', 'b'):
        assert_shows(tmp_path / f'o/deep/{name}.png', model, inputs, (56, 72))


def test_detector(tmp_path, picture):
    """mmdetection's RetinaNet, through a pipeline that resizes and a preprocessor that pads."""
    need_mmdet()
    backbone = {'type': 'mmvit_plugins.SGFormer', 'arch': ARCH, 'img_size': 64}
    detector = retinanet(backbone, ARCH['embed_dims'])
    detector.data_preprocessor.update(mean=[128.0] * 3, std=[64.0] * 3)
    text = detection_config(detector, 'no data').pretty_text
    config, checkpoint, model = write_model(tmp_path, text)
    visualize(config, checkpoint, picture, str(tmp_path / 'o'), block=1)

    from mmdet.apis import inference_detector, init_detector

    host = init_detector(config, checkpoint, device='cpu')
    inputs = seen_by_backbone(host, lambda: inference_detector(host, picture))
    assert inputs.shape == (1, 3, 96, 128)  # 96 x 117 and padding
    assert_shows(tmp_path / 'o/picture.png', model, inputs, (96, 117), block=1)


def test_what_cannot_be_shown_is_said(tmp_path, picture):
    pytest.importorskip('mmseg')
    config, checkpoint, _ = write_model(tmp_path, SEGMENTOR)
    out = str(tmp_path / 'o')

    def refused(words, error=UserError, source=picture, weights=checkpoint, **options):
        with pytest.raises(error, match=words) as caught:
            visualize(config, weights, source, out, **options)
        assert '\n' not in str(caught.value)

    refused('block=0: the stages have 1, 1, 2 hybrid-scale', block=0)
    refused(r'opacity=2: give a number from 0', opacity=2)
    refused('nix does not exist: give a picture or a folder', source='nix')
    refused('nix.pth: there is no such checkpoint file', ValueError, weights='nix.pth')
    refused(
        "'mmpretrain', 'mmseg'",
        cfg_options={'default_scope': 'mmengine', 'model': None},
    )
    refused('no dict named "model"', cfg_options={'model': None})
    refused('no test_dataloader', cfg_options={'test_dataloader': None})
    other = {'_delete_': True, 'type': 'mmvit_plugins.SGFormer'}
    refused(
        'the model is a SGFormer: give the config of a classifier', cfg_options={'model': other}
    )
    afformer = {'_delete_': True, 'type': 'mmvit_plugins.AFFormer'}
    refused(
        'AFFormer makes no importance maps.*with SGFormer',
        cfg_options={'model': {'backbone': afformer}},
    )
    small = tmp_path / 'small.pth'
    torch.save(
        {f'backbone.{name}': value for name, value in SGFormer('small').state_dict().items()}, small
    )
    refused("this file holds the variant 'small'", CheckpointMismatchError, weights=str(small))


def test_picture_of_what_a_pipeline_packs():
    bgr = torch.arange(12, dtype=torch.uint8).view(3, 2, 2)
    np.testing.assert_array_equal(to_picture(bgr), bgr.flip(0).permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(to_picture(bgr[:1].float()), bgr[[0, 0, 0]].permute(1, 2, 0))
    normalised = to_picture(torch.tensor([-2.0, 0.0, 2.0]).view(1, 1, 3))
    np.testing.assert_array_equal(normalised[0, :, 0], [0, 128, 255])
    for views in (torch.zeros(5, 4, 4), torch.zeros(10, 3, 4, 4)):
        with pytest.raises(UserError, match=r'gives \[\d+, .*one picture'):
            to_picture(views)
    with pytest.raises(UserError, match='gives list, where one picture'):
        to_picture([bgr, bgr])


def test_steps_that_load_annotations_are_known():
    names = ('LoadAnnotations', 'mmseg.LoadAnnotations', 'LoadPanopticAnnotations')
    assert all(is_for_annotations({'type': name}) for name in names)
    names = ('LoadImageFromFile', 'mmcv.LoadImageFromFile', 'PackDetInputs')
    assert not any(is_for_annotations({'type': name}) for name in names)
