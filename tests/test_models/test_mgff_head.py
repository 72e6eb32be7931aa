"""MGFFHead: the classifier of the vector, and the classifiers of single maps beside it."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmvit_plugins.analysis import count_flops
from mmvit_plugins.models import MGFFHead

CLASSES, CHANNELS, MAPS = 5, 6, (4, 6)


def features(batch=3):
    maps = [torch.randn(batch, c, 3, 2) for c in MAPS]
    return (*maps, torch.randn(batch, CHANNELS))


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_vector_is_classified():
    head, feats = MGFFHead(CLASSES, CHANNELS, drop_rate=0.5).eval(), features()
    expected = feats[-1] @ head.fc.weight.T + head.fc.bias
    assert torch.allclose(head(feats), expected, atol=1e-6)
    predicted = head.predict(feats)
    assert torch.allclose(predicted[1].pred_score, expected[1].softmax(0), atol=1e-6)
    assert set(head.loss(feats, samples(0, 1, 2))) == {'loss'}


def test_dropout_is_before_the_classifier():
    head = MGFFHead(CLASSES, CHANNELS, drop_rate=0.5).train()
    torch.nn.init.ones_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    out = head((torch.ones(200, CHANNELS),))
    assert set(out.unique().tolist()) == {2.0 * kept for kept in range(CHANNELS + 1)}
    assert torch.equal(out, out[:, :1].expand(-1, CLASSES))
    assert torch.equal(head.eval()((torch.ones(1, CHANNELS),)), torch.full((1, CLASSES), 6.0))


def mean_of_logits(classify, x):
    """A classifier at every place, and the mean of what they say: PIM's, with a product a place."""
    conv, norm, _, _, _, linear = classify
    x = torch.einsum('nchw,dc->ndhw', x, conv.weight[:, :, 0, 0]) + conv.bias[:, None, None]
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    x = (x - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
    x = (x * norm.weight[:, None, None] + norm.bias[:, None, None]).clamp(min=0)
    logits = torch.einsum('nchw,kc->nkhw', x, linear.weight) + linear.bias[:, None, None]
    return logits.mean((2, 3))


def test_auxiliary_losses_are_those_of_logits_averaged_over_places():
    head = MGFFHead(CLASSES, CHANNELS, aux_in_channels=MAPS, aux_loss_weight=0.25).double().train()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    feats, labels = [x.double() for x in features()], (4, 0, 2)
    expected = sum(
        F.cross_entropy(mean_of_logits(classify, x), torch.tensor(labels))
        for classify, x in zip(head.auxiliary, feats, strict=False)
    )
    losses = head.loss(feats, samples(*labels))
    assert set(losses) == {'loss', 'loss_aux'}
    assert losses['loss_aux'].item() == pytest.approx(0.25 * expected.item(), rel=1e-12)


def test_prediction_leaves_the_auxiliary_classifiers_alone():
    head, feats = MGFFHead(CLASSES, CHANNELS, aux_in_channels=MAPS).eval(), features()
    for classify in head.auxiliary:
        classify.register_forward_hook(lambda *_: pytest.fail('it ran'))
    alone = MGFFHead(CLASSES, CHANNELS).eval()
    alone.load_state_dict(head.state_dict(), strict=False)
    for mine, other in zip(head.predict(feats), alone.predict(feats), strict=True):
        assert torch.equal(mine.pred_score, other.pred_score)


def test_training_behind_the_neck():
    """Through mmpretrain's classifier with Mixup: every weight learns, the losses are named."""
    cfg = dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, base_channels=4, stem_channels=4),
        neck=dict(
            type='mmvit_plugins.MGFF',
            in_channels=[32],
            strides=[32],
            grid_size=2,
            return_maps=True,
            num_heads=2,
        ),
        head=dict(
            type='mmvit_plugins.MGFFHead',
            num_classes=CLASSES,
            in_channels=32,
            aux_in_channels=[32],
            loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        ),
        data_preprocessor=dict(num_classes=CLASSES),
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    counted = count_flops(model.eval(), (3, 64, 64))
    assert counted['training_only'] == 32 * 33 + 64 + CLASSES * 33
    assert counted['parameters'] + counted['training_only'] == sum(
        p.numel() for p in model.parameters()
    )
    data = dict(inputs=torch.randn(4, 3, 64, 64), data_samples=samples(0, 1, 2, 3))
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    before = {name: p.clone() for name, p in model.named_parameters() if p.ndim > 1}
    for _ in range(2):  # the graph's alpha starts at 0, so that two weights wait for it
        losses = model.train().train_step(data, wrapper)
    assert set(losses) == {'loss', 'loss_aux'}
    assert losses['loss'] > losses['loss_aux'] > 0  # the first is their sum
    after = dict(model.named_parameters())
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.parametrize('channels', [4, [], [0], ['4']])
def test_wrong_channels_are_refused(channels):
    with pytest.raises(ValueError, match='aux_in_channels=.* must be positive integers'):
        MGFFHead(CLASSES, CHANNELS, aux_in_channels=channels)


@pytest.mark.parametrize('kept', [[2], [0, 2], [1, 0, 2]])
def test_other_maps_than_announced_are_refused(kept):
    head, feats = MGFFHead(CLASSES, CHANNELS, aux_in_channels=MAPS), features()
    with pytest.raises(ValueError, match='set return_maps=True in the neck'):
        head.loss([feats[i] for i in kept], samples(0, 1, 2))
