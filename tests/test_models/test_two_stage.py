"""TwoStageClassifier: two looks against one look done twice by hand, and every way through it."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from miniature import GROCERY_CLASSES, make
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint
from mmpretrain import ImageClassificationInferencer
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmvit_plugins.analysis import compare, count_config, count_flops
from mmvit_plugins.analysis.flops import format_flops
from mmvit_plugins.models.localizers import crop_boxes, find_boxes

CLASSES, SIZE = 5, 32
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
RESNET = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4, out_indices=(0, 3))
VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8),
    img_size=SIZE,
    patch_size=8,
)
ATTENTION = dict(type='mmvit_plugins.AttentionLocalizer', vit=VIT)
ACTIVATION = dict(type='mmvit_plugins.ActivationLocalizer', index=0)
HEAD = dict(type='LinearClsHead', num_classes=CLASSES, in_channels=32)


def config(kind='mmvit_plugins.TwoStageClassifier', head=HEAD, **options):
    cfg = dict(type=kind, backbone=RESNET, neck=dict(type='GlobalAveragePooling'), head=head)
    return copy.deepcopy(cfg | options)


def build(*args, **options):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(config(*args, **options))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # else the last map hardly depends on the picture
            module.running_var.fill_(0.1)
    for name, parameter in model.named_parameters():
        if name.startswith('head.'):
            nn.init.normal_(parameter, std=0.05)
    return model.eval()


class Brightness(BaseModule):
    """A localizer without weights whose response is known: the first channel, in squares of 4."""

    needs_maps = False

    def __init__(self, size=None, mean=None, std=None):
        super().__init__()
        self.size, self.mean, self.std = size, mean, std
        self.seen = None

    def forward(self, x):
        self.seen = x
        return F.avg_pool2d(x[:, 0], 4)


def two_stage(localizer=None, **options):
    """Build one with :class:`Brightness`, which takes no config."""
    model = build(localizer=ACTIVATION, **options)
    model.localizer = localizer or Brightness()
    model._set_statistics()
    return model


SPOTS = ((0, 0, 12, 12), (4, 8, 24, 28), (16, 12, 32, 24), None)  # the last picture has none


def pictures(spots=SPOTS, size=SIZE):
    """Noise in which a rectangle of the first channel shines."""
    x = 0.3 * torch.randn(len(spots), 3, size, size)
    x[:, 0] = 0
    for picture, spot in zip(x, spots, strict=True):
        if spot:
            x0, y0, x1, y1 = (side * size // SIZE for side in spot)
            picture[0, y0:y1, x0:x1] = 1
    return x


def watch(module):
    """Keep the pictures that a module gets in each call."""
    calls = []
    module.register_forward_pre_hook(lambda _, args: calls.append(args[0].clone()))
    return calls


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_two_looks_are_one_look_twice():
    """Each picture by itself, with a crop cut by hand; boxes of three sizes and one without."""
    model, x = two_stage(), pictures()
    calls = watch(model.backbone)
    predicted = model.predict(x, samples(0, 1, 2, 3))
    assert [len(call) for call in calls] == [4, 3]
    boxes, statuses = find_boxes(F.avg_pool2d(x[:, 0], 4), (SIZE, SIZE))
    assert statuses == ['ok', 'ok', 'ok', 'flat']
    assert len((boxes[:, 2] - boxes[:, 0]).unique()) == 4
    for i, sample in enumerate(predicted):
        first = model(x[i : i + 1])[0]
        second = first
        if statuses[i] == 'ok':
            second = model(crop_boxes(x[i : i + 1], boxes[i : i + 1], (SIZE, SIZE)))[0]
            assert (second - first).abs().max() > 0.01, 'else there is nothing to compare'
        expected = ((first + second) / 2).softmax(0)
        assert torch.allclose(sample.pred_score, expected, atol=1e-6)
        assert sample.pred_label.item() == expected.argmax()
        assert sample.gt_label.item() == i
        scores = torch.stack((first, second)).softmax(1)
        assert torch.allclose(sample.stage_scores, scores, atol=1e-6)
        assert torch.equal(sample.crop_box, boxes[i]) and sample.crop_box.dtype == torch.float32
        assert sample.crop_status == statuses[i]
        assert sample.response_map.shape == (8, 8) and sample.response_map.dtype == torch.float16
        if SPOTS[i]:
            x0, y0, x1, y1 = sample.crop_box
            assert x0 <= SPOTS[i][0] + 1 and y0 <= SPOTS[i][1] + 1
            assert x1 >= SPOTS[i][2] - 1 and y1 >= SPOTS[i][3] - 1
    alone = [model.predict(x[i : i + 1])[0] for i in range(4)]
    for one, other in zip(predicted, alone, strict=True):
        assert torch.allclose(one.pred_score, other.pred_score, atol=1e-6)


@pytest.mark.parametrize('fusion', ['logit_mean', 'prob_mean', 'logit_max', 'stage2'])
def test_whole_pictures_are_looked_at_once(fusion):
    """The same bits as one stage, whatever the fusion; beside others and in a batch by itself."""
    model = two_stage(fusion=fusion, stage_weights=(0.3, 0.6))
    x = pictures((None, SPOTS[0], None))
    single = build('ImageClassifier')
    single.load_state_dict(model.state_dict())
    calls = watch(model.backbone)
    mixed, expected = model.predict(x), single.predict(x)
    assert [len(call) for call in calls] == [3, 1]
    assert [sample.crop_status for sample in mixed] == ['flat', 'ok', 'flat']
    for i in (0, 2):
        assert torch.equal(mixed[i].pred_score, expected[i].pred_score)
        assert torch.equal(*mixed[i].stage_scores)
        assert mixed[i].crop_box.tolist() == [0, 0, SIZE, SIZE]
    assert not torch.allclose(mixed[1].pred_score, expected[1].pred_score, atol=1e-3)
    calls.clear()
    out = model.two_stages(x[::2])
    assert len(calls) == 1
    assert torch.equal(out['logits'][0], out['logits'][1]) and torch.equal(out['crops'], x[::2])


@pytest.mark.parametrize('weights', [(0.5, 0.5), (1, 3), (0, 2)])
def test_fusion(weights):
    logits = 30 * torch.randn(2, 4, CLASSES)
    first, second = logits
    a, b = (weight / sum(weights) for weight in weights)
    expected = {
        'logit_mean': (a * first + b * second).softmax(1),
        'prob_mean': a * first.softmax(1) + b * second.softmax(1),
        'logit_max': torch.maximum(first, second).softmax(1),
        'stage2': second.softmax(1),
    }
    for fusion, scores in expected.items():
        model = two_stage(fusion=fusion, stage_weights=weights)
        fused = model.fuse(logits)
        assert torch.allclose(fused.softmax(1), scores, atol=1e-6), fusion
        assert model.fuse(logits.bfloat16()).dtype == torch.float32


def test_detail_comes_from_the_picture_as_it_came():
    """A picture of twice the size: the first look is smoothed, the second sees single pixels."""
    model, x = two_stage(input_size=SIZE), pictures(SPOTS[1:3], 2 * SIZE)
    calls = watch(model.backbone)
    out = model.two_stages(x)
    view = F.interpolate(x, (SIZE, SIZE), mode='bilinear', antialias=True)
    assert torch.equal(calls[0], view)
    assert torch.equal(model.localizer.seen, view)
    assert out['statuses'] == ['ok', 'ok'] and out['boxes'].max() > SIZE
    assert torch.equal(calls[1], crop_boxes(x, out['boxes'], (SIZE, SIZE)))
    assert torch.equal(calls[1], out['crops'])
    poorer = crop_boxes(view, out['boxes'] / 2, (SIZE, SIZE))
    assert calls[1][:, 1:].std() > 1.2 * poorer[:, 1:].std()
    for same in (model(x), model.head(model.extract_feat(x))):
        assert torch.equal(same, model(view))


def test_picture_of_another_shape_than_the_classifiers():
    model, x = two_stage(input_size=(16, 24)), pictures(SPOTS[:2])[:, :, :28]
    calls = watch(model.backbone)
    out = model.two_stages(x)
    assert [tuple(call.shape[2:]) for call in calls] == [(16, 24)] * 2
    assert out['statuses'] == ['ok', 'ok']
    assert out['crops'].shape == (2, 3, 16, 24)


@pytest.mark.parametrize('ours', [IMAGENET, {}, dict(mean=[127.5], std=[100.0])])
@pytest.mark.parametrize('theirs', [dict(mean=[127.5] * 3, std=[127.5] * 3), {}])
def test_localizer_sees_its_own_statistics(ours, theirs):
    """From bytes, through the preprocessor, to what the localizer gets."""
    raw = torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8)
    model = two_stage(Brightness(**theirs), data_preprocessor=dict(to_rgb=True, **ours))
    model.test_step(dict(inputs=raw, data_samples=samples(0, 1)))
    used = theirs or ours or dict(mean=[0.0], std=[1.0])
    mean, std = (torch.tensor(used[name]).view(-1, 1, 1) for name in ('mean', 'std'))
    assert torch.allclose(model.localizer.seen, (raw.flip(1) - mean) / std, atol=2e-5)
    assert not [name for name in model.state_dict() if name.startswith('localizer')]


def test_localizer_of_its_own_size_gets_the_picture_as_it_came():
    model, x = two_stage(Brightness(size=48), input_size=16), pictures(SPOTS[:1], 48)
    model.predict(x)
    assert torch.equal(model.localizer.seen, x)


def test_localizer_is_frozen():
    model = build(localizer=ATTENTION, crop_in_train=0.5)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    model.train()
    assert model.backbone.training and not any(m.training for m in model.localizer.modules())
    for _ in range(2):
        data = dict(inputs=pictures(), data_samples=samples(0, 1, 2, 3))
        model.train_step(data, OptimWrapper(optimizer))
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if not name.startswith('localizer.')}
    assert not any(p.requires_grad for p in model.localizer.parameters())
    assert not two_stage().train().localizer.training, 'also one that does not see to it itself'


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_crops_in_training(share):
    model, x = two_stage(crop_in_train=share).train(), pictures()
    crops = model.two_stages(x)['crops']
    calls = watch(model.backbone)
    torch.manual_seed(1)
    chosen = torch.rand(4) < share
    torch.manual_seed(1)
    model.loss(x, samples(0, 1, 2, 3))
    (seen,) = calls
    expected = torch.where(chosen[:, None, None, None], crops, x)
    assert torch.equal(seen, expected)
    assert {0.0: 0, 1.0: 4}.get(share, chosen.sum()) == chosen.sum()
    assert share in (0, 1) or 0 < chosen[:3].sum() < 3
    calls.clear()
    model.eval().loss(x, samples(0, 1, 2, 3))
    assert torch.equal(calls[0], x)


def test_first_look_of_training_leaves_batch_statistics_alone():
    """The maps that the crops of training come from are made apart; a batch counts once."""
    model = build(localizer=ACTIVATION, crop_in_train=1.0).train()
    (norm,) = (m for name, m in model.backbone.named_modules() if name == 'bn1')
    calls = watch(norm)
    model.loss(pictures(), samples(0, 1, 2, 3))
    assert len(calls) == 2
    assert norm.num_batches_tracked == 1 and norm.training
    expected = 0.9 * 0.1 + 0.1 * calls[1].var((0, 2, 3))
    assert torch.allclose(norm.running_var, expected, rtol=1e-4)


def test_validation_may_look_once():
    model, single = two_stage(two_stage_in_val=False), build('ImageClassifier')
    single.load_state_dict(model.state_dict())
    data = dict(inputs=pictures(), data_samples=samples(0, 1, 2, 3))
    once, twice = model.val_step(copy.deepcopy(data)), model.test_step(copy.deepcopy(data))
    for sample, expected in zip(once, single.val_step(copy.deepcopy(data)), strict=True):
        assert torch.equal(sample.pred_score, expected.pred_score)
        assert 'crop_box' not in sample
    assert all('crop_box' in sample for sample in twice)
    model.two_stage_in_val = True
    for sample, expected in zip(model.val_step(data), twice, strict=True):
        assert torch.equal(sample.pred_score, expected.pred_score)


WARNING = 'of the localizer were never loaded'


def test_checkpoint_of_one_stage(log, tmp_path):
    """All but the localizer is there; that it looks at random is said once, and loudly."""
    single = build('ImageClassifier')
    file = str(tmp_path / 'single.pth')
    torch.save({'state_dict': single.state_dict()}, file)
    by_load, by_init = build(localizer=ATTENTION), build(localizer=ATTENTION, pretrained=file)
    load_checkpoint(by_load, file)
    by_init.init_weights()
    x = pictures()
    for model in (by_load, by_init):
        assert torch.equal(model(x), single(x))
    missing, unexpected = by_load.load_state_dict(single.state_dict(), strict=False)
    assert missing and not unexpected
    assert all(name.startswith('localizer.vit.') for name in missing)
    assert not [line for line in log() if WARNING in line]
    for model in (by_load, by_init):
        before = sum(WARNING in line for line in log())
        for _ in range(2):
            model.predict(x)
        assert sum(WARNING in line for line in log()) == before + 1


def test_checkpoint_of_one_stage_beside_a_file_of_the_localizer(log, tmp_path):
    """The file that ``init_cfg`` names is loaded when it is needed, never over another."""
    known = build(localizer=ATTENTION)
    torch.save(known.localizer.vit.state_dict(), tmp_path / 'vit.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth'))
    localizer = dict(ATTENTION, vit=dict(ATTENTION['vit'], init_cfg=init_cfg))
    new = build(localizer=localizer)
    own = {k: v for k, v in known.state_dict().items() if not k.startswith('localizer.')}
    new.load_state_dict(own, strict=False)
    x = pictures()
    for _ in range(2):
        for one, other in zip(known.predict(x), new.predict(x), strict=True):
            assert torch.equal(one.crop_box, other.crop_box)
    assert sum('loaded from its init_cfg' in line for line in log()) == 1

    kept = build(localizer=localizer)
    zeros = {k: torch.zeros_like(v) for k, v in known.state_dict().items()}
    kept.load_state_dict(zeros)
    kept.predict(x)
    assert not any(p.any() for p in kept.localizer.parameters())


def test_a_missing_file_of_the_localizer_ends_in_a_sentence(tmp_path):
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth'))
    model = build(localizer=ATTENTION | dict(vit=VIT | dict(init_cfg=init_cfg)))
    with pytest.raises(FileNotFoundError, match=r'localizer.*vit\.pth can not.*; put that file'):
        model.predict(pictures())


def by_checkpoint(file, model):
    torch.save(model.state_dict(), file)
    new = build(localizer=ATTENTION)
    load_checkpoint(new, str(file), strict=True)
    return new


def by_init_cfg(file, model):
    torch.save(model.state_dict(), file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    new = build(localizer=ATTENTION, init_cfg=init_cfg)
    new.init_weights()
    return new


def by_init_cfg_of_localizer(file, model):
    torch.save(model.localizer.state_dict(), file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    new = build(localizer=ATTENTION | dict(init_cfg=init_cfg))
    new.init_weights()
    return new


def by_init_cfg_of_vit(file, model):
    """From a classifier's file, by prefix."""
    state = {f'backbone.{k}': v for k, v in model.localizer.vit.state_dict().items()}
    torch.save({'state_dict': state}, file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file), prefix='backbone')
    new = build(localizer=ATTENTION | dict(vit=VIT | dict(init_cfg=init_cfg)))
    new.init_weights()
    return new


@pytest.mark.parametrize(
    'load', [by_checkpoint, by_init_cfg, by_init_cfg_of_localizer, by_init_cfg_of_vit]
)
def test_ways_to_load_the_localizer(load, log, tmp_path):
    """Its weights are in the checkpoint of two stages, and nothing is said; nor for a copy."""
    model = build(localizer=ATTENTION)
    nn.init.normal_(model.localizer.vit.pos_embed)
    new = load(tmp_path / 'file.pth', model)
    wanted, got = model.localizer.state_dict(), new.localizer.state_dict()
    assert wanted and all(torch.equal(wanted[name], got[name]) for name in wanted)
    x = pictures()
    copy.deepcopy(new).predict(x)
    new.predict(x)
    assert not [line for line in log() if WARNING in line]
    if load in (by_checkpoint, by_init_cfg):
        for one, other in zip(model.predict(x), new.predict(x), strict=True):
            assert torch.equal(one.pred_score, other.pred_score)
            assert torch.equal(one.crop_box, other.crop_box)


def test_half_a_localizer_is_not_a_loaded_one(log):
    model = build(localizer=ATTENTION)
    state = {k: v for k, v in model.state_dict().items() if '.layers.1.' not in k}
    model.load_state_dict(state, strict=False)
    model.predict(pictures())
    assert [line for line in log() if WARNING in line]


def test_maps_of_the_first_look_need_no_weights(log):
    model, x = build(localizer=ACTIVATION), pictures()
    calls = watch(model.backbone)
    out = model.two_stages(x)
    again = [status == 'ok' for status in out['statuses']]
    assert len(calls) == 1 + any(again) and any(again)
    assert torch.equal(out['response'], model.localizer(model.backbone(x)))
    assert not log()


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_response_that_is_no_number(value):
    """One bad response among good ones is looked at once, as a whole; the others are not hurt."""
    model, x = two_stage(), pictures(SPOTS[:3])
    good = model.predict(x)
    respond = model.localizer.forward

    def broken(picture):
        response = respond(picture)
        response[1, 2, 2] = value
        return response

    model.localizer.forward = broken
    predicted = model.predict(x)
    assert [sample.crop_status for sample in predicted] == ['ok', 'flat', 'ok']
    assert torch.equal(*predicted[1].stage_scores)
    assert predicted[1].pred_score.isfinite().all()
    for i in (0, 2):
        assert torch.allclose(predicted[i].pred_score, good[i].pred_score, atol=1e-6)


@pytest.mark.parametrize('flat', [True, False])
def test_picture_of_one_colour(flat):
    """Without positions it responds alike everywhere; with them it may have a box like any."""
    model = build(localizer=ATTENTION)
    nn.init.normal_(model.localizer.vit.pos_embed, std=0.0 if flat else 5.0)
    out = model.two_stages(torch.full((2, 3, SIZE, SIZE), 0.7))
    assert (out['statuses'] == ['flat', 'flat']) == flat
    assert out['logits'].isfinite().all()
    assert torch.equal(out['logits'][0], out['logits'][1]) == flat


def test_picture_smaller_than_a_patch():
    """Is enlarged where a size says to what, and refused in a sentence where none does."""
    x = torch.randn(1, 3, 5, 5)
    for side, options in (
        (4, dict(input_size=SIZE, localizer=ATTENTION)),
        (4, dict(localizer=ATTENTION | dict(size=SIZE))),
        (2, dict(localizer=ACTIVATION)),  # has no patches
    ):
        (sample,) = build(**options).predict(x)
        assert sample.pred_score.sum().item() == pytest.approx(1)
        assert sample.response_map.shape == (side, side) and sample.crop_box.max() <= 5
    with pytest.raises(ValueError, match=r'pictures of the shape \(1, 3, 5, 5\).* set size'):
        build(localizer=ATTENTION).predict(x)


HEADS = {
    'MultiLabelLinearClsHead': HEAD,
    'ArcFaceClsHead': HEAD,
    'ConformerHead': HEAD | dict(in_channels=[32, 32]),
    'LinearRegressionHead': HEAD,
    'MIMHead': dict(loss=dict(type='CrossEntropyLoss')),
}


@pytest.mark.parametrize('kind', [None, *HEADS])
def test_heads_without_plain_logits_are_refused(kind):
    head = kind and (HEADS[kind] | dict(type=kind))
    name = kind or 'NoneType'
    with pytest.raises(ValueError, match=f'head={name} is not possible.* use a head such as'):
        build(head=head, localizer=ACTIVATION)


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        ('VisionTransformerClsHead', {}),
        ('StackedLinearClsHead', dict(mid_channels=[8])),
        ('mmvit_plugins.MGFFHead', {}),
    ],
)
def test_heads_with_plain_logits(kind, options):
    predicted = build(head=HEAD | dict(type=kind) | options, localizer=ACTIVATION).predict(
        pictures()
    )
    assert all(sample.pred_score.shape == (CLASSES,) for sample in predicted)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(localizer=None), 'localizer=None came, but a localizer finds the object'),
        (dict(fusion='mean'), "fusion='mean' must be one of .*'stage2'"),
        (dict(stage_weights=(1,)), 'stage_weights=.* must be two numbers'),
        (dict(stage_weights=(0, 0)), 'stage_weights=.* must be two numbers'),
        (dict(stage_weights=(2, -1)), 'stage_weights=.* must be two numbers'),
        (dict(crop_in_train=1.5), 'crop_in_train=1.5 must be a probability'),
        (dict(input_size=0), 'input_size=0 must be a positive integer, or height'),
        (dict(input_size=(32, 32, 32)), 'input_size=.* must be a positive integer, or height'),
        (dict(box=dict(treshold='mean')), r"box has \['treshold'\], but may have .*threshold"),
        (dict(box=dict(threshold='median')), "threshold='median' must be one of"),
        (dict(box=dict(min_area=2)), 'min_area=2 must be a number from 0 to 1'),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**dict(localizer=ACTIVATION) | options)


def test_box_arguments_reach_the_search():
    x = pictures(SPOTS[:3])
    usual, wide = (two_stage(box=box).two_stages(x) for box in (None, dict(min_side=0.9)))
    sides = wide['boxes'][:, 2:] - wide['boxes'][:, :2]
    assert torch.allclose(sides, torch.full_like(sides, 0.9 * SIZE))
    assert (usual['boxes'] != wide['boxes']).any()


@pytest.mark.parametrize('localizer', [ATTENTION, ACTIVATION], ids=['attention', 'activation'])
def test_cost_is_two_passes_and_the_localizer(localizer):
    model = build(localizer=localizer, input_size=SIZE)
    single = count_flops(build('ImageClassifier'), (3, SIZE, SIZE))
    once = {part['name']: part for part in single['parts']}
    counted = count_flops(model, (3, SIZE, SIZE))
    twice = {part['name']: part for part in counted['parts']}
    extra = sum(p.numel() for p in model.localizer.parameters())
    assert list(twice) == ['backbone', 'neck', 'localizer', 'head']
    assert counted['parameters'] == single['parameters'] + extra
    assert counted['trainable'] == single['trainable']
    for name in ('backbone', 'neck'):
        assert twice[name]['flops'] == 2 * once[name]['flops'] > 0
    # besides two heads, four multiplications for each pixel that is sampled anew
    assert twice['head']['flops'] == 2 * once['head']['flops'] + 4 * 3 * SIZE**2
    assert (twice['localizer']['flops'] > 5 * 16 * 8 * 24) == (localizer is ATTENTION)
    assert counted['flops'] == sum(part['flops'] for part in counted['parts'])
    assert counted['unknown'] == {}
    trained = count_flops(model, (3, SIZE, SIZE), 'train')
    assert trained['flops'] == single['flops'] and not trained['two_stages']
    larger = count_flops(model, (3, 2 * SIZE, 2 * SIZE))
    resized = 3 * SIZE * (2 * SIZE * 4 + SIZE * 4)  # of twice the size: 4 taps across, then 4 down
    assert larger['flops'] == counted['flops'] + resized
    assert larger['unknown'] == {}


def test_cost_in_the_tools(tmp_path):
    """What is printed says what was counted; what is timed are two passes whatever the boxes."""
    path = tmp_path / 'two.py'
    model = config(localizer=ATTENTION)
    path.write_text(f"default_scope = 'mmpretrain'\nmodel = {model!r}\n")
    counted = count_config(path, [SIZE])
    assert counted['flops'] == count_flops(build(localizer=ATTENTION), (3, SIZE, SIZE))['flops']
    text = format_flops(counted)
    assert 'Two stages: backbone, neck and head run twice, the localizer once' in text
    single = tmp_path / 'one.py'
    single.write_text(f"default_scope = 'mmpretrain'\nmodel = {config('ImageClassifier')!r}\n")
    assert 'Two stages' not in format_flops(count_config(single, [SIZE]))
    modes = ('tensor', 'predict', 'train')
    result = compare(
        [path, single],
        shapes=[SIZE],
        batch_size=2,
        modes=modes,
        flops=True,
        repeats=1,
        warmup=1,
        threads=1,
    )
    flops = {(r['config'] == str(path), r['mode']): r['flops'] for r in result['results']}
    assert flops[True, 'tensor'] == flops[True, 'predict'] == counted['flops']
    assert flops[True, 'train'] == flops[False, 'train'] == flops[False, 'tensor']


@pytest.mark.parametrize('mode', ['tensor', 'predict', 'train'])
def test_benchmark_runs_the_second_pass_for_every_picture(mode):
    from mmvit_plugins.analysis.benchmark import Variant, _runner

    model = build(localizer=ATTENTION).train(mode == 'train')
    calls, localized = watch(model.backbone), watch(model.localizer)
    _runner(model, mode, torch.randn(3, 3, SIZE, SIZE), Variant())()
    assert [len(call) for call in calls] == ([3] if mode == 'train' else [3, 3])
    assert len(localized) == (mode != 'train')


class Maps(nn.Conv2d):
    """A backbone that is compiled within a second."""

    def __init__(self):
        super().__init__(3, 32, 4, 4)

    def forward(self, x):
        return (super().forward(x),)


def without_dead_code(graph, _):
    """Compile to what is left when nothing is computed that the result does not need."""
    graph.graph.eliminate_dead_code()
    graph.recompile()
    assert 'norm' in graph.code, 'the localizer is gone'
    return graph.forward


def test_all_passes_are_tensors_alone():
    """Traced and compiled in one graph, the localizer among it; the crop is the whole picture."""
    model, x = build(localizer=ACTIVATION), torch.randn(2, 3, SIZE, SIZE)
    model.backbone = Maps()
    with torch.no_grad():
        expected = model.all_passes(x)
        assert torch.allclose(expected, model(x), atol=1e-4)
        traced = torch.jit.trace_module(model, {'all_passes': x}, check_trace=False)
        assert torch.allclose(traced.all_passes(x), expected, atol=1e-5)
        compiled = torch.compile(model.all_passes, backend=without_dead_code, fullgraph=True)
        assert torch.allclose(compiled(x), expected, atol=1e-5)


def test_autocast():
    """Boxes and scores stay in float32; logits of both dtypes are stacked."""
    model, x = build(localizer=ATTENTION), pictures()
    with torch.autocast('cpu', torch.bfloat16):
        predicted = model.predict(x)
    for sample in predicted:
        assert sample.pred_score.dtype == sample.stage_scores.dtype == torch.float32
        assert sample.crop_box.dtype == torch.float32
        assert sample.pred_score.isfinite().all()


@pytest.fixture
def run_config(tmp_path):
    """A run of one epoch: MGFF with its head, Mixup, crops in training, larger test pictures."""
    root = make('grocery22', tmp_path / 'data', pictures=1, size=(40, 48))

    def pipeline(*scales):
        resize = [dict(type='Resize', scale=scale) for scale in scales]
        return [dict(type='LoadImageFromFile'), *resize, dict(type='PackInputs')]

    def loader(split, steps):
        return dict(
            batch_size=11,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='CustomDataset',
                data_root=str(root),
                ann_file=f'meta/{split}.txt',
                data_prefix=split,
                pipeline=steps,
            ),
        )

    model = config(
        head=dict(
            type='mmvit_plugins.MGFFHead',
            num_classes=GROCERY_CLASSES,
            in_channels=8,
            aux_in_channels=[8, 8],
        ),
        neck=dict(
            type='mmvit_plugins.MGFF',
            in_channels=[4, 32],
            strides=[4, 32],
            grid_size=2,
            embed_dims=8,
            num_heads=2,
            return_maps=True,
        ),
        localizer=ATTENTION | dict(mean=[127.5] * 3, std=[127.5] * 3),
        input_size=SIZE,
        crop_in_train=0.5,
        two_stage_in_val=False,
        data_preprocessor=dict(num_classes=GROCERY_CLASSES, to_rgb=True, **IMAGENET),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    flips = [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)]
    return Config(
        dict(
            default_scope='mmpretrain',
            model=model,
            train_dataloader=loader('train', pipeline(SIZE)),
            val_dataloader=loader('val', pipeline(SIZE)),
            test_dataloader=loader('test', pipeline(48)),
            val_evaluator=dict(type='Accuracy', topk=(1, 5)),
            test_evaluator=dict(type='Accuracy', topk=(1, 5)),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, weight_decay=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[dict(type='EMAHook', momentum=0.1)],
            tta_model=dict(type='AverageClsScoreTTA'),
            tta_pipeline=[
                *pipeline(48)[:-1],
                dict(type='TestTimeAug', transforms=[flips, [dict(type='PackInputs')]]),
            ],
            work_dir=str(tmp_path / 'work'),
            log_level='WARNING',
            randomness=dict(seed=0),
        )
    )


def test_runner_and_inferencer(run_config, tmp_path):
    """Training, validation, testing, test-time augmentation, then the file in the inferencer."""
    runner = Runner.from_cfg(run_config)
    before = copy.deepcopy(runner.model.localizer.state_dict())
    runner.train()
    after = runner.model.localizer.state_dict()
    assert runner.message_hub.get_scalar('train/loss_aux').current() > 0
    assert 0 <= runner.message_hub.get_scalar('val/accuracy/top5').current() <= 100
    file = str(tmp_path / 'work' / 'epoch_1.pth')
    state = torch.load(file, weights_only=False)['state_dict']
    for name, value in after.items():
        assert torch.equal(value, state[f'localizer.{name}'])
    assert set(before) == set(after)
    kept = []
    runner.test_evaluator.metrics[0].process = lambda batch, outs: kept.extend(outs)
    runner.test_evaluator.metrics[0].evaluate = lambda size: dict(top1=size)
    runner.test()
    assert len(kept) == GROCERY_CLASSES
    assert all(out['crop_box'].max() <= 48 and 'stage_scores' in out for out in kept)
    twice = copy.deepcopy(run_config)
    twice.model = ConfigDict(**twice.tta_model, module=twice.model)
    twice.test_dataloader.dataset.pipeline = twice.tta_pipeline
    for name in ('train', 'val'):
        twice[f'{name}_dataloader'] = twice[f'{name}_cfg'] = None
    twice.update(optim_wrapper=None, val_evaluator=None, load_from=file, experiment_name='tta')
    tta = Runner.from_cfg(twice)
    looks = watch(tta.model.module.backbone)
    assert 0 <= tta.test()['accuracy/top5'] <= 100
    assert len(looks) == 2 * 2 * 2  # batches, flips, looks

    infer = ImageClassificationInferencer(run_config, pretrained=file, device='cpu')
    images = [np.random.default_rng(i).integers(0, 256, (60, 50, 3), np.uint8) for i in range(3)]
    found = infer(images, batch_size=2, return_datasamples=True)
    plain = infer(images, batch_size=3)
    model = infer.model
    for sample, result in zip(found, plain, strict=True):
        assert np.allclose(result['pred_scores'], sample.pred_score.numpy(), atol=1e-5)
        assert result['pred_scores'].shape == (GROCERY_CLASSES,)
        assert sample.stage_scores.shape == (2, GROCERY_CLASSES)
        assert sample.response_map.shape == (4, 4)
        assert (sample.crop_box.max() <= 48).item()
    assert not model.training and model.localizer.mean == [127.5] * 3
