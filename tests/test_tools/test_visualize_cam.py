"""Pictures of activation maps: of which input, layer and class, in the configs of every host."""

import numpy as np
import pytest
import torch
from detection import CLASSES, detection_config, mask_rcnn, need_mmdet, retinanet
from mmengine.structures import BaseDataElement
from pictures import write_model, write_picture
from PIL import Image

from mmvit_plugins.apis import cam as api
from mmvit_plugins.apis.cam import Explained, ExplainedDetector, ExplainedSegmentor, make_cam
from mmvit_plugins.errors import UserError
from mmvit_plugins.visualization import draw_cam

SWIN = 'arch=dict(embed_dims=8, depths=(1,) * 4, num_heads=(1,) * 4, window_size=7)'
CLASSIFIER = f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmvit_plugins.SwinTransformer', {SWIN}),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=64))
data_preprocessor = dict(
    type='ClsDataPreprocessor', num_classes=4, mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True,
    pad_size_divisor=32)
test_dataloader = dict(dataset=dict(type='ImageNet', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='CenterCrop', crop_size=(70, 90)),
    dict(type='PackInputs')]))
"""
SEGMENTOR = f"""
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3, bgr_to_rgb=True,
        size=(64, 64), test_cfg=dict(size_divisor=32)),
    backbone=dict(type='mmvit_plugins.SwinTransformer', {SWIN}, out_indices=(0, 3)),
    decode_head=dict(
        type='FCNHead', in_channels=64, in_index=1, channels=64, num_convs=0, num_classes=3,
        concat_input=False),
    test_cfg=dict(mode='whole'))
test_dataloader = dict(dataset=dict(
    type='BaseSegDataset', metainfo=dict(classes=('sky', 'sea', 'sand')), pipeline=[
        dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]))
"""
NAMES = ('robin', 'wren', 'jay', 'crow')


@pytest.fixture
def pixels(tmp_path):
    """Write a picture, 90 high and 110 wide; return it, RGB."""
    return write_picture(tmp_path / 'picture.png')


@pytest.fixture
def drawn(monkeypatch):
    """Collect what is drawn: image, map, lines and opacity of each picture."""
    calls = []
    monkeypatch.setattr(api, 'draw_cam', lambda *args: (calls.append(args), draw_cam(*args))[1])
    return calls


def normalised(pixels, height, width):
    """What the data preprocessors here make of a picture: padded below and to the right."""
    inputs = torch.zeros(1, 3, height, width)
    image = torch.tensor(pixels).permute(2, 0, 1).float()
    inputs[0, :, : pixels.shape[0], : pixels.shape[1]] = (image - 128) / 64
    return inputs


def expected(explained, inputs, label, size, method='gradcam'):
    """The map of a class by the library, cut to the picture and stretched to 1; and the score."""
    explained.begin(None, size)
    score = explained(inputs)[0, label].item()
    cam = make_cam(explained, method)(inputs, [lambda scores: scores[label]])[0]
    cam = cam[: size[0], : size[1]]
    return cam / (cam.max() or 1), score


def visualize(*args, **options):
    api.visualize_cam(*args, overwrite=True, **options)


def test_classifier(run, tmp_path, pixels, drawn):
    """The predicted class, named by the checkpoint; any other by name; any layer; padding cut."""
    pytest.importorskip('mmpretrain')
    meta = {'dataset_meta': {'classes': NAMES}}
    config, checkpoint, model = write_model(tmp_path, CLASSIFIER, meta)
    done = run('visualize_cam.py', config, checkpoint, 'picture.png', '--out', 'o')
    assert done.returncode == 0, done.stderr
    from mmpretrain import ImageClassificationInferencer

    label = ImageClassificationInferencer(config, checkpoint, 'cpu')('picture.png')[0]['pred_label']
    seen = pixels[:, 20:90]
    inputs = normalised(seen, 96, 96)
    image, activation, lines, opacity = drawn[0]
    np.testing.assert_array_equal(image, seen)
    cam, score = expected(Explained(model, 'backbone'), inputs, label, (90, 70))
    np.testing.assert_allclose(activation, cam, atol=1e-5)
    assert activation.max() == 1 and opacity == 0.5
    assert lines == ['gradcam of backbone', f'class {label}: {NAMES[label]}, score {score:.3g}']
    np.testing.assert_array_equal(np.asarray(Image.open('o/picture.png')), draw_cam(*drawn[0]))

    path = 'backbone.stages.2.blocks.0'
    options = ('--layer', path, '--method', 'layercam', '--target', 'jay', '--opacity', 0.7)
    done = run(
        'visualize_cam.py', config, checkpoint, 'picture.png', '--out', 'o', '--overwrite', *options
    )
    assert done.returncode == 0, done.stderr
    _, activation, lines, opacity = drawn[1]
    cam, score = expected(Explained(model, path), inputs, 2, (90, 70), 'layercam')
    np.testing.assert_allclose(activation, cam, atol=1e-5)
    assert lines == [f'layercam of {path}', f'class 2: jay, score {score:.3g}'] and opacity == 0.7

    done = run(
        'visualize_cam.py',
        config,
        checkpoint,
        'picture.png',
        '--out',
        'o',
        '--overwrite',
        '--target',
        'no',
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith("error: target='no': there is no such class") and "'crow'" in last


def test_segmentor_on_a_folder(tmp_path, drawn):
    """Classes of the data set; a class that is nowhere predicted; damaged pictures are named."""
    pytest.importorskip('mmseg')
    config, checkpoint, model = write_model(tmp_path, SEGMENTOR)
    model.decode_head.conv_seg.bias.data = torch.tensor([0.0, 0, -1e3])
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    folder = tmp_path / 'pictures/deep'
    folder.mkdir(parents=True)
    pixels = write_picture(folder / 'a.png')
    (folder / 'damaged.png').write_text('no picture')
    args = (config, checkpoint, str(tmp_path / 'pictures'), str(tmp_path / 'o'))
    with pytest.raises(UserError, match=r'1 of 2 pictures could not be read.*damaged\.png'):
        visualize(*args)
    assert (tmp_path / 'o/deep/a.png').is_file()

    inputs = normalised(pixels, 96, 128)
    explained = ExplainedSegmentor(model, 'backbone')
    explained.begin(None, (90, 110))
    label = explained.predicted(explained(inputs)[0])
    cam, score = expected(explained, inputs, label, (90, 110))
    image, activation, lines, _ = drawn[0]
    np.testing.assert_array_equal(image, pixels)
    np.testing.assert_allclose(activation, cam, atol=1e-5)
    assert lines[1].startswith(f'class {label}: {("sky", "sea")[label]}, mean logit {score:.3g}, ')

    with pytest.raises(UserError, match='could not be read'):
        visualize(*args, target='sand')
    assert drawn[1][2][1].startswith('class 2: sand, mean logit -1') and 'nowhere' in drawn[1][2][1]
    with pytest.raises(UserError, match='the scores do not depend on backbone.stages.0.norm'):
        visualize(*args, layer='backbone.stages.0.norm')
    model.decode_head.conv_seg.weight.data.zero_()
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    with pytest.raises(UserError, match='class 0: sky does not change with the map that backbone'):
        visualize(*args, target=0)


def as_drawn(model):
    """The config of a detector for the picture as it is: normalised as here, not resized."""
    model.data_preprocessor.update(mean=[128.0] * 3, std=[64.0] * 3)
    cfg = detection_config(model, 'no data')
    pipeline = cfg.test_dataloader.dataset.pipeline
    pipeline[:] = [step for step in pipeline if step.type != 'Resize']
    return cfg.pretty_text


def test_detector(tmp_path, pixels, drawn):
    """mmdetection's RetinaNet: ten best scores over all anchors of all levels, by class."""
    need_mmdet()
    config, checkpoint, model = write_model(tmp_path, as_drawn(retinanet()))
    args = (config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / 'o'))
    visualize(*args)
    visualize(*args, method='eigencam')
    with pytest.raises(UserError, match="a number from 0 to 2 or a name, as 'red'"):
        visualize(*args, target=3)
    inputs = normalised(pixels, 96, 128)
    explained = ExplainedDetector(model, 'backbone')
    scores = [level[0] for level in model(inputs, mode='tensor')[0]]
    rows = torch.cat([x.view(9, 3, -1).transpose(1, 2).reshape(-1, 3) for x in scores])
    score, label = rows.topk(10, 0).values.sum(0).max(0)
    cam, _ = expected(explained, inputs, label, (90, 110))
    (image, activation, lines, _), (_, eigen, eigen_lines, _) = drawn
    np.testing.assert_array_equal(image, pixels)
    np.testing.assert_allclose(activation, cam, atol=1e-5)
    assert activation.max() == 1
    assert lines[1] == f'class {label}: {CLASSES[label]}, sum of the 10 best scores {score:.3g}'
    assert eigen_lines == ['eigencam of backbone'] and eigen.max() == 1


def test_detector_of_two_stages(tmp_path, pixels, drawn):
    """mmdetection's Mask R-CNN: ten best scores over all regions; the background is no class."""
    need_mmdet()
    config, checkpoint, model = write_model(tmp_path, as_drawn(mask_rcnn()))
    args = (config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / 'o'))
    visualize(*args)
    sample = BaseDataElement(metainfo={'img_shape': (90, 110), 'batch_input_shape': (96, 128)})
    scores = model(normalised(pixels, 96, 128), [sample], mode='tensor')[0][0]
    assert scores.shape[1] == 4 and len(scores) >= 10
    score, label = scores[:, :3].topk(10, 0).values.sum(0).max(0)
    lines = drawn[0][2]
    assert lines[1] == f'class {label}: {CLASSES[label]}, sum of the 10 best scores {score:.3g}'
    for target in range(3):
        visualize(*args, target=target)
    maps = [activation for _, activation, _, _ in drawn]
    np.testing.assert_array_equal(maps[0], maps[1 + label])
    # of an untrained network, nothing may speak for a class
    assert max(x.max() for x in maps) == 1


def test_what_cannot_be_shown_is_said(tmp_path, pixels, monkeypatch):
    pytest.importorskip('mmpretrain')
    config, checkpoint, _ = write_model(tmp_path, CLASSIFIER)

    def refused(words, error=UserError, source='picture.png', weights=checkpoint, **options):
        with pytest.raises(error, match=words) as caught:
            api.visualize_cam(
                config, weights, str(tmp_path / source), str(tmp_path / 'o'), **options
            )
        assert '\n' not in str(caught.value)

    refused("method='cam' is unknown: choose from gradcam, gradcam.*, scorecam", method='cam')
    refused('eigencam knows no classes, so target=1 must be left', method='eigencam', target=1)
    refused('opacity=2: give a number from 0', opacity=2)
    refused('nix does not exist: give a picture or a folder', source='nix')
    refused('nix.pth: there is no such checkpoint file', ValueError, weights='nix.pth')
    refused("target='robin': there is no such class, give a number from 0 to 3$", target='robin')
    refused('backbone has no part', layer='backbone.stage')
    refused('set default_scope=mmpretrain', cfg_options={'default_scope': 'mmengine'})
    bare = {'default_scope': 'mmengine', 'model': None, 'data_preprocessor': None}
    refused("'mmdet', 'mmpretrain', 'mmseg'", cfg_options=bare)
    refused('no dict named "model"', cfg_options={'model': None})
    refused('no test_dataloader', cfg_options={'test_dataloader': None})
    alone = {'_delete_': True, 'type': 'mmvit_plugins.SwinTransformer'}
    refused(
        'the model is a SwinTransformer: give the config of a classifier',
        cfg_options={'model': alone},
    )
    windows = {'type': 'mmvit_plugins.HyperspectralDataset', 'pipeline': [{'type': 'PackInputs'}]}
    refused(
        'loads no picture files .LSGA-ViT, for one',
        cfg_options={'test_dataloader': {'dataset': windows}},
    )
    monkeypatch.setattr(api, 'is_available', lambda name: name != 'pytorch_grad_cam')
    refused('activation maps need pytorch-grad-cam, which is not installed: pip install')


def test_an_even_map_is_said_to_be_one(tmp_path, drawn):
    """One colour: every token of a network that sees nothing else has the same output."""
    pytest.importorskip('mmpretrain')
    config, checkpoint, model = write_model(tmp_path, CLASSIFIER)
    Image.new('RGB', (70, 90), (128, 128, 128)).save(tmp_path / 'grey.png')
    model.backbone.stages[-1].norm.weight.data.zero_()
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    api.visualize_cam(config, checkpoint, str(tmp_path / 'grey.png'), str(tmp_path / 'o'))
    _, activation, lines, _ = drawn[0]
    assert not activation.any() and lines[-1].startswith('No part stands out')
