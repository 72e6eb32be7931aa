"""Activation maps: against the formulas by hand, for every layout of maps, scores and hosts."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hosts import classifier
from mmengine.model import BaseModel
from torch import nn

from mmvit_plugins.apis.cam import (
    METHODS,
    Explained,
    ExplainedDetector,
    ExplainedSegmentor,
    find_last_map,
    first_component,
    make_cam,
)
from mmvit_plugins.apis.predictor import Predictor
from mmvit_plugins.errors import UserError
from mmvit_plugins.registry import MODELS

CLASSES = 5
BACKBONES = {
    'AFFormer': dict(
        arch=dict(
            embed_dims=(8, 8, 8, 8), depths=(1,) * 4, num_heads=2, mlp_ratio=2, windows={3: 1, 5: 1}
        ),
        out_indices=(1, 3),
    ),
    'SGFormer': dict(
        arch=dict(embed_dims=(8, 8, 8, 8), num_heads=(2,) * 4, depths=(2, 2, 2, 1), mlp_ratio=2),
        img_size=64,
        out_indices=(3,),
    ),
    'SwinTransformer': dict(
        arch=dict(embed_dims=8, depths=(1,) * 4, num_heads=(1,) * 4, window_size=7)
    ),
    'T2TViT': dict(out_type='featmap'),
}
T2T = dict(
    tokens_type='performer', block='vit', embed_dims=16, depths=(2,), num_heads=2, mlp_ratio=2
)


def build(name, **options):
    options = BACKBONES[name] | options
    if name == 'T2TViT':
        options |= dict(arch=T2T, img_size=64)
    pooled = options.get('out_type', 'featmap') == 'featmap'
    backbone = dict(type=f'mmvit_plugins.{name}', **options)
    channels = 64 if name == 'SwinTransformer' else 16 if name == 'T2TViT' else 8
    model = MODELS.build(classifier(backbone, channels, CLASSES, pooled)).eval()
    torch.manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def picture(height=64, width=96):
    return torch.randn(1, 3, height, width)


def explain(model, method, inputs, label, path=None, kind=Explained):
    explained = kind(model, path or find_last_map(model))
    explained.begin(None, inputs.shape[2:])
    cam = make_cam(explained, method)
    with torch.set_grad_enabled(cam.uses_gradients):
        return cam(inputs, [lambda scores: scores[label]])[0]


def finish(raw, inputs):
    """What the library makes of a map: no negative values, 0 to 1, the picture's size."""
    raw = np.maximum(raw.detach().numpy(), 0)
    raw = raw - raw.min()
    large = cv2.resize(raw / (raw.max() + 1e-7), inputs.shape[:1:-1])
    large -= large.min()
    return large / (large.max() + 1e-7)


@pytest.mark.parametrize('name', BACKBONES)
def test_gradcam_of_pooled_maps_is_the_weighted_sum(name):
    """Before average pooling and a linear layer, the gradients are that layer's weights."""
    model, inputs = build(name), picture()
    with torch.no_grad():
        last = model.backbone(inputs)[-1][0]
    assert min(last.shape[1:]) > 1
    highest = 0
    for label in range(CLASSES):
        raw = torch.einsum('c,chw->hw', model.head.fc.weight[label], last)
        cam = explain(model, 'gradcam', inputs, label)
        assert cam.shape == (64, 96)
        np.testing.assert_allclose(cam, finish(raw, inputs), atol=1e-4)
        highest = max(highest, cam.max())
    assert highest > 0.9


def test_gradcam_of_averaged_tokens():
    """T2T-ViT that returns the mean of its tokens is as one whose map is pooled."""
    model, inputs = build('T2TViT', out_type='avg_featmap'), picture()
    assert find_last_map(model) == 'backbone.stages.2.norm'
    cam = explain(model, 'gradcam', inputs, 2)
    maps = build('T2TViT')
    maps.load_state_dict(model.state_dict())
    np.testing.assert_allclose(cam, explain(maps, 'gradcam', inputs, 2), atol=1e-5)


def test_gradcam_of_what_a_class_token_reads():
    """By autograd alone: tokens before the last block's attention, the class token left out."""
    model, inputs = build('T2TViT', out_type='cls_token'), picture()
    path = find_last_map(model)
    assert path == 'backbone.stages.2.blocks.1.norm1'
    kept = []
    handle = model.get_submodule(path).register_forward_hook(lambda *args: kept.append(args[2]))
    score = model(inputs)[0, 1]
    handle.remove()
    tokens, gradients = kept[0][0, 1:], torch.autograd.grad(score, kept[0])[0][0, 1:]
    raw = (tokens * gradients.mean(0)).sum(1).view(4, 6)
    np.testing.assert_allclose(explain(model, 'gradcam', inputs, 1), finish(raw, inputs), atol=1e-4)
    with pytest.raises(UserError, match='gives .1, 16. for a picture of .64, 96., which is no map'):
        explain(model, 'gradcam', inputs, 1, 'backbone')


def test_raw_tokens_are_a_map():
    model = build('T2TViT', out_type='cls_token')
    model.backbone.out_type = 'raw'
    explained = Explained(model, find_last_map(model), with_scores=False)
    x = torch.randn(1, 1 + 4 * 6, 16)
    explained.count, explained.sides = 1, (64, 96)
    assert explained.to_map(model.backbone(picture())[0]).shape == (1, 16, 4, 6)
    np.testing.assert_array_equal(explained.to_map(x)[0, :, 2, 3], x[0, 1 + 2 * 6 + 3])


def test_layouts_of_maps():
    explained = Explained(build('AFFormer'), 'backbone')
    explained.count, explained.sides = 2, (70, 100)

    def map_of(*shape):
        return tuple(explained.to_map(torch.zeros(shape)).shape)

    assert map_of(2, 8, 9, 13) == map_of(2, 9, 13, 8) == (2, 8, 9, 13)
    assert map_of(2, 8, 8, 12) == map_of(2, 8, 12, 8) == (2, 8, 8, 12)  # rounded down
    assert map_of(2, 8, 6, 6) == (2, 8, 6, 6)  # pooled to a square
    for extra in (0, 1, 2, 5):
        assert map_of(2, 9 * 13 + extra, 8) == (2, 8, 9, 13)
    x = torch.randn(2, 9, 13, 8)
    torch.testing.assert_close(explained.to_map(x), x.permute(0, 3, 1, 2))
    for shape in ((2, 8), (2, 8, 1, 1), (2, 123, 8), (6, 8, 9, 13), (6, 117, 8), (2, 8, 3, 4, 5)):
        with pytest.raises(UserError, match='which is no map: name a layer that gives'):
            map_of(*shape)


@pytest.mark.parametrize('method', METHODS)
def test_every_method_of_the_library(method):
    model, inputs = build('SwinTransformer'), picture()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    cam = explain(model, method, inputs, 1)
    assert cam.shape == (64, 96) and np.isfinite(cam).all()
    assert cam.min() == 0 and cam.max() == pytest.approx(1, abs=1e-3)
    other = explain(model, method, inputs, 4)
    assert np.array_equal(cam, other) == (method == 'eigencam')
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_what_is_recorded_starts_at_the_layer():
    """Frozen and recomputed parts change nothing, nor does work in place on the layer's output."""
    inputs = picture()
    path = 'backbone.stages.0.norm2'
    expected = explain(build('T2TViT'), 'layercam', inputs, 1, path)
    assert expected.max() > 0.9
    model = build('T2TViT', with_cp=True, frozen_stages=3)
    np.testing.assert_array_equal(explain(model, 'layercam', inputs, 1, path), expected)

    model = build('AFFormer')
    cam = explain(model, 'gradcam++', inputs, 1)
    model.head.fc.weight.data /= 2
    model.neck.register_forward_pre_hook(lambda _, args: (args[0][-1].mul_(2),))
    model.neck.register_forward_hook(lambda *args: (args[2],))
    np.testing.assert_allclose(explain(model, 'gradcam++', inputs, 1), cam, atol=1e-4)


def test_layers_without_a_map_are_refused():
    model, inputs = build('SwinTransformer'), picture()

    def refused(words, path, network=model):
        with pytest.raises(UserError, match=words) as caught:
            explain(network, 'gradcam', inputs, 1, path)
        assert '\n' not in str(caught.value)

    refused("backbone.stages has no part '4', but 0, 1, 2, 3", 'backbone.stages.4')
    refused("the model has no part 'bone', but data_preprocessor, backbone, neck, head", 'bone')
    refused('backbone.stages is not called', 'backbone.stages')
    refused('neck gives .1, 64. for a picture of .64, 96., which is no map', 'neck')
    twice = build('SwinTransformer')
    twice.extract_feat = lambda x: twice.neck(twice.backbone(x)) and twice.neck(twice.backbone(x))
    refused('backbone runs more than once', 'backbone', twice)
    unread = build('SwinTransformer')
    unread.extract_feat = lambda x: (unread.backbone(x)[-1].detach().mean((2, 3)),)
    refused('the scores do not depend on backbone', 'backbone', unread)
    broken = build('SwinTransformer')
    broken.head.fc.weight.data[0, 0] = torch.nan
    refused('scores that are not finite', 'backbone', broken)
    headless = build('SwinTransformer')
    headless.head = None
    refused('ImageClassifier gives no scores.*eigencam', 'backbone', headless)
    explained = Explained(headless, 'backbone', with_scores=False)
    assert make_cam(explained, 'eigencam')(inputs, [])[0].max() > 0.9


class Segmentor(BaseModel):
    """Logits of its own in mode 'tensor', after a backbone that does nothing."""

    def __init__(self, logits):
        super().__init__()
        self.backbone = nn.Identity()
        self.logits = nn.Parameter(logits)
        self.decode_head = nn.ModuleList([nn.Module(), nn.Module()])
        self.decode_head[-1].threshold = 0.3

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.logits + self.backbone(inputs).mean() * 0


def segment(logits, inputs, visible):
    explained = ExplainedSegmentor(Segmentor(logits), 'backbone')
    explained.begin(None, visible)
    return explained, explained(inputs)[0].detach()


def test_score_of_a_segmentor():
    """Mean logits over the pixels of a class, rows and columns of padding left out."""
    logits = torch.zeros(1, 4, 6, 8)
    logits[0, 1, :2] = torch.arange(1.0, 9)
    logits[0, 2, 4:, :] = 50  # rows of the padding, below
    logits[0, 3, 2, 3] = 5
    explained, scores = segment(logits, picture(24, 32), (16, 28))
    assert scores.tolist() == pytest.approx([0, 4, 0, 5])
    assert explained.shares.tolist() == pytest.approx([13 / 28, 14 / 28, 0, 1 / 28])
    assert explained.predicted(scores) == 1  # the largest, not the surest
    assert explained.describe(scores, 1) == 'mean logit 4, predicted for 50.0% of the pixels'
    assert explained.describe(scores, 2) == 'mean logit 0, predicted nowhere'
    # the pixels stay those of the first pass, as a method needs that changes the picture
    explained.model.logits.data[0, 1, 3] = 100
    assert explained(picture(24, 32))[0].tolist() == pytest.approx([0, 4, 0, 5])


def test_score_of_a_class_that_is_predicted_nowhere_is_over_all_pixels():
    logits = torch.zeros(1, 3, 4, 4)
    logits[0, 0], logits[0, 2, 0] = 9, 8
    _, scores = segment(logits, picture(16, 16), (16, 16))
    assert scores.tolist() == [9, 0, 2]


def test_score_of_a_segmentor_with_one_logit():
    over = torch.tensor(0.3).logit()
    logits = torch.full((1, 1, 2, 4), -5.0)
    logits[0, 0, 0, 1:] = over + torch.tensor([0.5, 1, 3])
    explained, scores = segment(logits, picture(16, 32), (16, 32))
    assert scores.tolist() == pytest.approx([5 + over.item(), 1.5], rel=1e-5)
    assert explained.shares.tolist() == [5 / 8, 3 / 8]


class Detector(BaseModel):
    """Raw outputs of a head, made from what the backbone gives."""

    def __init__(self, outputs, head=None, roi=False):
        super().__init__()
        self.backbone = nn.Conv2d(3, 4, 4, 4)
        self.outputs = outputs
        if roi:
            self.roi_head = nn.Module()
            self.roi_head.bbox_head = nn.ModuleList([nn.Module()])
        owner = self.roi_head.bbox_head[0] if roi else nn.Module()
        for name, value in (head or {}).items():
            setattr(owner, name, value)
        if head is not None and not roi:
            self.bbox_head = owner

    def forward(self, inputs, data_samples=None, mode='tensor'):
        assert len(inputs) == 1 and mode == 'tensor'
        return self.outputs(self.backbone(inputs).mean() * 0)


def detect(outputs, head, roi=False):
    explained = ExplainedDetector(Detector(outputs, head, roi), 'backbone')
    explained.begin(None, (32, 32))
    return explained(picture(32, 32).expand(2, -1, -1, -1))


def test_scores_of_detectors():
    boxes = torch.full((1, 8, 4, 4), 1e6)
    big, small = torch.randn(1, 6, 4, 4), torch.randn(1, 6, 2, 2)

    def best(rows):
        return rows.sort(0, descending=True).values[:10].sum(0)

    # two anchors of three classes, the last one the background
    head = dict(cls_out_channels=3, num_classes=2)
    rows = [x[0].view(2, 3, -1).permute(0, 2, 1).reshape(-1, 3) for x in (big, small)]
    scores = detect(lambda zero: ([big + zero, small + zero], [boxes, boxes]), head)
    assert scores.shape == (2, 2)
    torch.testing.assert_close(scores[0], best(torch.cat(rows))[:2])
    torch.testing.assert_close(scores[0], scores[1])
    # a head that says nothing of its classes: each channel is one
    rows = torch.cat([x[0].flatten(1).T for x in (big, small)])
    torch.testing.assert_close(detect(lambda zero: [big + zero, small], {})[0], best(rows))
    nested = detect(lambda zero: (([big + zero, small],), [boxes]), {})
    torch.testing.assert_close(nested[0], best(rows))
    # regions of a second stage, and of a cascade, which gives a tuple of pictures
    regions = torch.randn(30, 4)
    head = dict(num_classes=3)
    for outputs in (
        lambda zero: ((regions + zero, torch.zeros(30, 12)),),
        lambda zero: (((regions + zero,), (torch.zeros(30, 4),)),),
    ):
        torch.testing.assert_close(detect(outputs, head, roi=True)[0], best(regions[:, :3]))
    # queries of six decoder layers; fewer than ten
    queries = torch.randn(6, 1, 7, 4)
    scores = detect(lambda zero: (queries + zero, boxes), dict(cls_out_channels=4))
    torch.testing.assert_close(scores[0], queries[-1, 0].sum(0))


def test_outputs_of_detectors_that_are_not_known_are_refused():
    maps = torch.zeros(1, 8, 4, 4)
    for outputs, head in (
        (lambda zero: ([maps + zero],), None),  # no box head: masks come first
        (lambda zero: ([maps + zero],), dict(cls_out_channels=3)),
        (lambda zero: ([maps + zero],), dict(num_attrib=8)),  # boxes among the classes
        (lambda zero: {'scores': maps + zero}, {}),
        (lambda zero: (), {}),
    ):
        with pytest.raises(UserError, match="Detector gives no scores of classes.*'eigencam'"):
            detect(outputs, head)


def test_classes_by_name_and_number():
    def find_class(target, names, count):
        owner = SimpleNamespace(classes=names, names=lambda count: names)
        return Predictor.find_class(owner, target, count)

    names = ('robin', 'reed warbler', '7')
    assert find_class('reed warbler', names, 3) == 1
    assert find_class('2', names, 3) == find_class(2, names, 3) == find_class('7', names, 3) == 2
    for wrong in ('7', 7, '-1', -1, 'robin'):
        with pytest.raises(UserError, match=r'no such class, give a number from 0 to 2$'):
            find_class(wrong, (), 3)
    with pytest.raises(UserError, match="or a name, as 'reed warbler', 'robin'"):
        find_class('warbler', names, 3)


def test_first_component_is_the_librarys_but_for_its_sign():
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    maps = np.random.default_rng(0).normal(size=(3, 6, 4, 5)).astype(np.float32)
    ours, theirs = first_component(maps), get_2d_projection(maps)
    for one, other in zip(ours, theirs, strict=True):
        assert one.max() >= -one.min()
        sign = np.sign((one * other).sum())
        np.testing.assert_allclose(one, sign * other, atol=1e-5)
    np.testing.assert_allclose(first_component(-maps), ours, atol=1e-5)
