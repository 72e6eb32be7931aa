"""Our backbones, necks and heads inside models of mmdetection, built and used as it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detection import SWIN_CHANNELS, WIDTH, mask_rcnn, retinanet
from miniature import SMALL
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmvit_plugins.models import MGFF, AFFormerHead, MGFFHead

ROOT = Path(__file__).resolve().parents[2]
SWIN, SGFORMER, AFFORMER, T2T = (
    f'mmvit_plugins.{name}' for name in ('SwinTransformer', 'SGFormer', 'AFFormer', 'T2TViT')
)
CHANNELS = {**{key: SMALL[key][1] for key in (SGFORMER, AFFORMER)}, SWIN: SWIN_CHANNELS}
STRIDES = (8, 16, 32)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def detector(kind: str, **options):
    """A small RetinaNet behind a small backbone, with the pyramid that it needs."""
    backbone = dict(type=kind, **SMALL[kind][0], **options)
    if kind == T2T:
        model = retinanet(backbone, (0, 32, 32, 32))
        model.backbone.out_indices = (2,)
        pyramid = dict(in_channels=(32,), in_strides=(16,), out_strides=STRIDES)
    else:
        model = retinanet(backbone, CHANNELS[kind])
        pyramid = dict(in_channels=CHANNELS[kind][1:], in_strides=(8,) * 3, out_strides=STRIDES)
    if kind in (T2T, AFFORMER):
        model.neck = [dict(type='mmvit_plugins.ToPyramid', **pyramid), model.neck]
    return MODELS.build(model)


def sample(height: int, width: int, boxes=((4.0, 4.0, 30.0, 28.0),), masks: bool = False):
    found = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            pad_shape=(height, width),
            batch_input_shape=(height, width),
            scale_factor=(1.0, 1.0),
        )
    )
    boxes = torch.tensor(boxes).reshape(-1, 4)
    found.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes)).long())
    return found


def batch(*sizes, **options) -> dict:
    """Pictures of any sizes, as a loader hands them over; the model pads them."""
    return dict(
        inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes],
        data_samples=[sample(*size, **options) for size in sizes],
    )


def losses(model, data: dict) -> torch.Tensor:
    data = model.data_preprocessor(data, True)
    return model.parse_losses(model(**data, mode='loss'))[0]


KINDS = (SWIN, SGFORMER, AFFORMER, T2T)


@pytest.mark.parametrize('kind', KINDS)
def test_every_parameter_learns_from_pictures_of_several_sizes(kind):
    """What had no gradient would stop training in several processes."""
    model = detector(kind).train()
    losses(model, batch((64, 96), (97, 65))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    # the last convolution starts so that all is background: only what is before it could be still
    still = [name for name, p in model.named_parameters() if not p.grad.any()]
    assert still == [], still


@pytest.mark.parametrize('kind', KINDS)
def test_frozen_stages_stay_and_the_rest_learns(kind):
    model = detector(kind, frozen_stages=1).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen and all(name.startswith('backbone.') for name in frozen)
    before = {name: p.clone() for name, p in model.named_parameters()}
    owners = {model.get_submodule(name.rpartition('.')[0]) for name in frozen}
    statistics = [(b, b.clone()) for owner in owners for b in owner.buffers(recurse=False)]
    assert bool(statistics) == (kind == AFFORMER), 'the one with batch norms'
    losses(model, batch((64, 96), (64, 64))).backward()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == set(before) - frozen
    assert all(torch.equal(value, start) for value, start in statistics)


@pytest.mark.parametrize('kind', KINDS)
def test_checkpointing_changes_nothing(kind):
    plain, saving = detector(kind).train(), detector(kind, with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    data = batch((64, 96))
    for model in (plain, saving):
        torch.manual_seed(0)
        losses(model, data).backward()
    for (name, one), other in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(1, 1), (3, 40), (33, 31)])
def test_pictures_smaller_than_a_stride(kind, size):
    model = detector(kind).eval()
    data = model.data_preprocessor(batch(size, boxes=()), False)
    found = model(**data, mode='predict')[0].pred_instances
    assert found.bboxes.shape[1] == 4 and torch.isfinite(found.scores).all()
    boxes = found.bboxes
    assert (boxes[:, 2] <= size[1]).all() and (boxes[:, 3] <= size[0]).all() and (boxes >= 0).all()
    model.train()
    assert torch.isfinite(losses(model, batch(size, size, boxes=())))


@pytest.mark.parametrize('kind', KINDS)
def test_a_batch_without_boxes_trains(kind):
    model = detector(kind).train()
    loss = losses(model, batch((64, 64), (64, 64), boxes=()))
    loss.backward()
    assert torch.isfinite(loss) and all(
        torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None
    )


def test_mgff_as_neck_of_detectors():
    """In the place of an FPN: maps at all strides, all of which learn."""
    backbone = dict(type=SWIN, **SMALL[SWIN][0])
    neck = dict(
        type='mmvit_plugins.MGFF',
        strides=(8, 16, 32),
        grid_size=4,
        embed_dims=16,
        num_heads=2,
        out_type='maps',
        out_channels=WIDTH,
        num_outs=5,
    )
    model = retinanet(backbone, SWIN_CHANNELS)
    model.neck = dict(neck, in_channels=(16, 32, 64))
    model = MODELS.build(model).train()
    assert type(model.neck) is MGFF
    losses(model, batch((128, 128), (96, 128))).backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    outs = model.extract_feat(torch.randn(1, 3, 128, 96))
    assert [tuple(out.shape[2:]) for out in outs] == [(16, 12), (8, 6), (4, 3), (2, 2), (1, 1)]

    two_stages = mask_rcnn(backbone, SWIN_CHANNELS)
    two_stages.neck = dict(neck, in_channels=SWIN_CHANNELS, strides=(4, 8, 16, 32))
    two_stages = MODELS.build(two_stages).eval()
    data = two_stages.data_preprocessor(batch((64, 96), boxes=()), False)
    found = two_stages(**data, mode='predict')[0].pred_instances
    assert found.masks.shape[1:] == (64, 96)


def test_our_heads_build_and_compute_beside_a_detector():
    """By their prefix under mmdetection's scope, on the maps of its neck."""
    model = detector(SWIN)
    segment = MODELS.build(
        dict(
            type='mmvit_plugins.AFFormerHead',
            in_channels=WIDTH,
            in_index=0,
            channels=32,
            num_classes=5,
            loss_decode=dict(type='mmseg.CrossEntropyLoss'),
        )
    )
    classify = MODELS.build(dict(type='mmvit_plugins.MGFFHead', num_classes=7, in_channels=WIDTH))
    assert type(segment) is AFFormerHead and type(classify) is MGFFHead
    maps = model.extract_feat(torch.randn(2, 3, 64, 96))
    assert segment(maps).shape == (2, 5, 8, 12)
    assert classify((maps[-1].mean((2, 3)),)).shape == (2, 7)


STOCK = """
import sys
from pathlib import Path

import mmdet
import numpy as np
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config

assert 'mmvit_plugins' not in sys.modules
stock = Path(mmdet.__file__).parent / '.mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py'
Path('drop_in.py').write_text(f'''
_base_ = {str(stock)!r}
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
model = dict(
    backbone=dict(
        _delete_=True, type='mmvit_plugins.SGFormer', arch='small', out_indices=(1, 2, 3)
    ),
    neck=dict(in_channels=[128, 256, 512], start_level=0),
)
''')
picture = np.zeros((48, 64, 3), np.uint8)
small = {'test_pipeline.1.scale': (128, 96), 'test_dataloader.dataset.pipeline.1.scale': (128, 96)}
for path in ('drop_in.py', *sys.argv[1:]):
    cfg = Config.fromfile(path)
    assert 'mmvit_plugins' in sys.modules, 'custom_imports did it'
    cfg.merge_from_dict(small)
    cfg.dump('whole.py')
    model = init_detector(cfg, None, device='cpu', cfg_options={})
    assert type(model.backbone).__module__.startswith('mmvit_plugins.'), type(model.backbone)
    found = inference_detector(model, picture).pred_instances
    assert found.bboxes.shape[1] == 4
    assert ('masks' in found) == ('mask-rcnn' in path)
    out = DetInferencer('whole.py', device='cpu', show_progress=False)(picture)
    assert set(out['predictions'][0]) >= {'bboxes', 'labels', 'scores'}
"""


@pytest.mark.slow
def test_stock_apis_need_no_import_by_hand(tmp_path):
    """A stock config with our backbone, and ours, through mmdetection's own functions."""
    names = (
        'swin_tiny_retinanet_1x_coco',
        'afformer_base_mask-rcnn_1x_coco',
        'sgformer_small_mask-rcnn_1x_coco',
        't2t_vit_14_mask-rcnn_1x_coco',
    )
    done = subprocess.run(
        [sys.executable, '-c', STOCK, *(str(ROOT / f'configs/detection/{n}.py') for n in names)],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
