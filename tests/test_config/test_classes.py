"""Numbers and names of classes compared; what is said of the hosts' losses is so."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torch.nn import functional

from mmvit_plugins.config import classes, runs
from mmvit_plugins.config.classes import (
    check_class_settings,
    check_classes,
    check_same_classes,
    check_tested,
    check_topk,
)
from mmvit_plugins.errors import UserError

ABC = ('a', 'b', 'c')


def data(names, kind='Data', **attributes):
    return type(kind, (), dict(metainfo={'classes': names}, METAINFO={}, **attributes))()


def model(scope='mmseg', **heads):
    return Config(dict(default_scope=scope, model=dict(dict(type='Model'), **heads)))


def loss(**settings):
    return dict(num_classes=3, loss_decode=dict(dict(type='CrossEntropyLoss'), **settings))


@pytest.mark.parametrize(
    'heads',
    [
        dict(decode_head=dict(num_classes=3), auxiliary_head=dict(num_classes=2)),
        dict(decode_head=[dict(num_classes=3), dict(num_classes=2)]),
        dict(roi_head=dict(bbox_head=dict(num_classes=3), mask_head=dict(num_classes=2))),
        dict(roi_head=dict(bbox_head=[dict(num_classes=2)])),
    ],
)
def test_every_head_is_compared(heads):
    with pytest.raises(UserError, match=r'num_classes=2, .* 3 classes \(a, b, c\): give 3'):
        check_classes(model(**heads), data(ABC))


def test_a_scene_has_as_many_classes_as_its_head():
    """More would be predicted and end the validation, as its metric refuses them."""
    scene = data(ABC, 'HyperspectralDataset')
    check_classes(model(head=dict(num_classes=3)), scene)
    with pytest.raises(UserError, match='num_classes=5'):
        check_classes(model(head=dict(num_classes=5)), scene)


def test_a_data_set_of_a_paper_kept_for_classes_of_ones_own():
    ade = data(('wall', 'sky', 'tree'), 'ADE20KDataset', reduce_zero_label=True)
    type(ade).METAINFO = {'classes': ('wall', 'sky', 'tree')}
    with pytest.raises(UserError, match="label 0 for no class: .* 'BaseSegDataset'|BaseSegDataset"):
        check_classes(model(decode_head=dict(num_classes=2)), ade)


def test_the_same_classes_in_the_same_order():
    cfg = model(head=dict(num_classes=3))
    check_same_classes(cfg, data(ABC), data(list(ABC)))
    check_same_classes(cfg, data(ABC), data(None))
    check_same_classes(model(type='ImageToImageRetriever'), data(ABC), data(('x', 'y')))
    for other, words in (
        (('a', 'c', 'b'), "label 1 is 'b' in the training data and 'c' in"),
        (('b', 'c'), r"label 0 is 'a' .* and 'b' .* \(3 and 2 classes\)"),
        ((*ABC, 'd'), "label 3 is no class in the training data and 'd' in"),
    ):
        with pytest.raises(UserError, match=words):
            check_same_classes(cfg, data(ABC), data(other))


def test_classes_of_a_checkpoint(monkeypatch):
    said = []
    monkeypatch.setattr(classes, 'print_log', lambda text, *_: said.append(text))
    cfg = model()
    check_tested(cfg, list(ABC), data(ABC))
    assert said == []
    check_tested(cfg, ('a', 'B', 'c'), data(ABC))  # spelled in another way, most likely
    assert said[0].startswith("label 1 is 'B' in the checkpoint and 'b' in the data to test on")
    with pytest.raises(UserError, match='in the order of the checkpoint'):
        check_tested(cfg, ('a', 'c', 'b'), data(ABC))


def test_top_k_of_fewer_classes():
    cfg = model(head=dict(num_classes=3))
    for fine in (dict(topk=(1, 3)), dict(topk=3), dict(), dict(topk=(1, 5), thrs=0.5)):
        check_topk(cfg, dict(type='Accuracy', **fine))
    for wrong in ((1, 5), 5):
        with pytest.raises(UserError, match=r'head.num_classes=3: give numbers up to 3, as \(1,\)'):
            check_topk(cfg, dict(type='mmpretrain.Accuracy', topk=wrong))
    check_class_settings(model('mmpretrain', head=dict(num_classes=3, topk=(1, 5))))  # not computed
    with pytest.raises(UserError, match='model.head.topk'):
        check_class_settings(model('mmpretrain', head=dict(num_classes=3, topk=5, cal_acc=True)))


def test_weights_of_classes():
    check_class_settings(model(decode_head=loss(class_weight=[1, 2, 3])))
    check_class_settings(model(decode_head=loss(class_weight=[2], use_sigmoid=True)))
    with pytest.raises(UserError, match='loss_decode.class_weight has 2 numbers'):
        check_class_settings(model(decode_head=loss(class_weight=[1, 2])))
    head = dict(num_classes=3, loss=dict(type='CrossEntropyLoss', class_weight=[1] * 4))
    with pytest.raises(UserError, match='model.head.loss.class_weight has 4 numbers'):
        check_class_settings(model('mmpretrain', head=head))


def test_the_mean_of_weighted_classes_is_that_of_labelled_pixels():
    """So ``avg_non_ignore``, with which mmsegmentation fails, can be left out with weights."""
    losses = pytest.importorskip('mmseg.models.losses')
    scores, weights = torch.randn(2, 3, 4, 4), [1.0, 2.0, 5.0]
    labels = torch.randint(0, 3, (2, 4, 4))
    labels[0, 0] = 255
    plain = losses.CrossEntropyLoss(class_weight=weights)
    log = scores.log_softmax(1)
    total = norm = 0.0
    for n, y, x in (labels != 255).nonzero().tolist():
        label = labels[n, y, x]
        total -= weights[label] * log[n, label, y, x].item()
        norm += weights[label]
    value = plain(scores, labels, ignore_index=255)
    assert value.item() == pytest.approx(total / norm, rel=1e-5)
    assert value.item() == pytest.approx(
        functional.cross_entropy(scores, labels, torch.tensor(weights), ignore_index=255).item()
    )
    broken = losses.CrossEntropyLoss(class_weight=weights, avg_non_ignore=True)
    with pytest.raises(IndexError):
        broken(scores, labels, ignore_index=255)
    with pytest.raises(UserError, match='leave avg_non_ignore out'):
        check_class_settings(
            model(decode_head=loss(class_weight=weights, avg_non_ignore=True)),
        )
    check_class_settings(model(decode_head=loss(avg_non_ignore=True)))


def test_the_focal_loss_of_mmsegmentation_on_a_cpu(monkeypatch):
    losses = pytest.importorskip('mmseg.models.losses')
    focal = dict(type='FocalLoss')
    with pytest.raises(RuntimeError, match='must match'):
        losses.FocalLoss()(torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(UserError, match='FocalLoss fails on a CPU'):
        check_class_settings(model(decode_head=loss(**focal)))
    check_class_settings(model('mmdet', bbox_head=dict(num_classes=3, loss=focal)))
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    check_class_settings(model(decode_head=loss(**focal)))


def test_labels_that_pass_the_pipeline_have_a_class_in_the_head():
    cfg = model(decode_head=dict(num_classes=2))
    cfg.train_dataloader = dict(dataset=dict(pipeline=[dict(type='CheckLabels', num_classes=2)]))
    check_class_settings(cfg)
    cfg.train_dataloader.dataset.pipeline[0].num_classes = 3
    with pytest.raises(UserError, match=r'pipeline.0.num_classes=3, but model.decode_head'):
        check_class_settings(cfg)


def test_scores_without_label_maps_name_the_setting_that_writes_predictions():
    metric, place = dict(type='IoUMetric'), 'val_dataloader'
    config = SimpleNamespace(get=lambda _: loader)
    loader = dict(dataset=dict(type='A', data_prefix=dict(img_path='x'), pipeline=[]))
    with pytest.raises(UserError, match='format_only=True'):
        runs._check_labelled(config, metric, place)
    runs._check_labelled(config, dict(metric, format_only=True), place)
    loader['dataset']['data_prefix']['seg_map_path'] = 'y'
    runs._check_labelled(config, metric, place)
