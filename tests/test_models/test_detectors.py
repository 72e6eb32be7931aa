"""Our backbones, necks and heads inside models of mmdetection, built and used as it does."""

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from detection import SWIN_CHANNELS, WIDTH, mask_rcnn, retinanet
from hosts import WITHOUT_STARTUP
from miniature import SMALL
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torchvision.ops import roi_align

from mmvit_plugins.models import MGFF, AFFormerHead, MGFFHead
from mmvit_plugins.ops import stands_in

ROOT = Path(__file__).resolve().parents[2]
SWIN, SGFORMER, AFFORMER, T2T = (
    f'mmvit_plugins.{name}' for name in ('SwinTransformer', 'SGFormer', 'AFFormer', 'T2TViT')
)
CHANNELS = {key: SMALL[key][1] for key in (SGFORMER, AFFORMER, 'ResNet')}
CHANNELS |= {SWIN: SWIN_CHANNELS, T2T: (32,) * 4}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def detector(kind: str, make=retinanet, **options):
    """A small detector behind a small backbone, with the pyramid that it needs."""
    model = make(dict(type=kind, **SMALL[kind][0], **options), CHANNELS[kind])
    strides = (4, 8, 16, 32) if make is mask_rcnn else (8, 16, 32)
    start = 4 - len(strides)
    pyramid = dict(in_channels=CHANNELS[kind][start:], in_strides=(4, 8, 8, 8)[start:])
    if kind == T2T:
        model.backbone.out_indices = (2,)
        pyramid = dict(in_channels=(32,), in_strides=(16,))
    if kind in (T2T, AFFORMER):
        pyramid = dict(type='mmvit_plugins.ToPyramid', **pyramid, out_strides=strides)
        model.neck = [pyramid, model.neck]
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
    if masks:
        pixels = np.random.randint(0, 2, (len(boxes), height, width), np.uint8)
        found.gt_instances.masks = BitmapMasks(pixels, height, width)
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


BOTH = (retinanet, mask_rcnn)
SIZES = (96, 160), (128, 97)
BOXES = (4.0, 4.0, 30.0, 28.0), (20.0, 30.0, 90.0, 80.0)


def copies(maps):
    return tuple(x.contiguous() for x in maps)


@contextmanager
def contiguous_maps(model):
    """Let all heads get copies in the layout that anything can read."""
    hook = model.neck.register_forward_hook(lambda neck, inputs, maps: copies(maps))
    yield
    hook.remove()


@contextmanager
def contiguous_regions(model):
    """Let what reads regions get such copies, and the convolutions, which round, what comes."""
    head = model.roi_head
    hooks = [
        extract.register_forward_pre_hook(lambda module, args: (copies(args[0]), *args[1:]))
        for extract in (head.bbox_roi_extractor, head.mask_roi_extractor)
    ]
    yield
    for hook in hooks:
        hook.remove()


def predictions(model, data: dict) -> list[InstanceData]:
    with torch.no_grad():
        found = model.eval()(**model.data_preprocessor(data, False), mode='predict')
    return [sample.pred_instances for sample in found]


def compare_predictions(found: list[InstanceData], expected: list[InstanceData], share: float = 1):
    """``share``: how many must be alike, where rounding decides between nearly equal scores."""
    for one, other in zip(found, expected, strict=True):
        score = (one.scores[:, None] - other.scores).abs()
        pixels = (one.bboxes[:, None] - other.bboxes).abs().amax(-1)
        same = (one.labels[:, None] == other.labels) & (score < 1e-4) & (pixels < 1e-2)
        rows, columns = same.nonzero(as_tuple=True)
        assert len(one) == len(other) > 10
        assert min(len(rows.unique()), len(columns.unique())) >= share * len(one)
        if 'masks' in one:  # probabilities, 255 is 1
            assert one.masks.unique().numel() > 10
            assert (one.masks[rows].int() - other.masks[columns].int()).abs().max() <= 1


@pytest.mark.parametrize('make', BOTH)
@pytest.mark.parametrize('kind', KINDS)
def test_maps_in_any_memory_layout_detect_and_teach_alike(kind, make):
    """Our backbones return channels-last maps, and so do necks; mmcv's own code reads them wrong.

    A stock model, but for the backbone and the neck's channels.
    """
    model = detector(kind, make)
    data = batch(*SIZES, boxes=BOXES, masks=make is mask_rcnn)
    with torch.no_grad():
        maps = model.extract_feat(model.data_preprocessor(data, False)['inputs'])
    assert not any(x.is_contiguous() for x in maps)
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in maps)

    layout = contiguous_maps
    if make is mask_rcnn:
        layout = contiguous_regions
        model.roi_head.test_cfg.mask_thr_binary = -1  # no pixels at a threshold
    found = predictions(model, data)
    with contiguous_maps(model):
        compare_predictions(found, predictions(model, data), share=0.9)
    if make is mask_rcnn:
        with contiguous_regions(model):
            compare_predictions(found, predictions(model, data))

    seen = []
    for change in (nullcontext, layout):
        model.train().zero_grad()
        torch.manual_seed(0)  # the same samples
        np.random.seed(0)
        with change(model):
            values = model(**model.data_preprocessor(data, True), mode='loss')
        total, parts = model.parse_losses(values)
        total.backward()
        seen.append((parts, {name: p.grad.clone() for name, p in model.named_parameters()}))
    (losses, grads), (other_losses, other_grads) = seen
    assert losses.keys() >= ({'loss_mask'} if make is mask_rcnn else {'loss_bbox'})
    for name, value in losses.items():
        torch.testing.assert_close(value, other_losses[name], rtol=1e-5, atol=1e-6, msg=name)
    largest = max(grad.abs().max() for grad in other_grads.values())
    for name, grad in grads.items():
        difference = (grad - other_grads[name]).abs().max()
        # a bias before a norm has no gradient but rounding
        assert difference <= 1e-4 * other_grads[name].abs().max() + 1e-5 * largest, name


@pytest.mark.parametrize('part', ['bbox', 'mask'])
@pytest.mark.parametrize('kind', KINDS)
def test_features_of_regions_in_any_memory_layout(kind, part):
    """Of all levels, and beyond the picture, against copies and against torchvision's function."""
    model = detector(kind, mask_rcnn).eval()
    extract = getattr(model.roi_head, f'{part}_roi_extractor')
    with torch.no_grad():
        maps = model.extract_feat(torch.randn(2, 3, 256, 320))[: extract.num_inputs]
    assert not any(x.is_contiguous() for x in maps)
    sides = torch.tensor([9.0, 40, 111, 113, 180, 223, 225, 400, 460])
    corner = torch.rand(2, len(sides), 2) * 150 - 10
    stretch = torch.tensor([1.2, 1 / 1.2])
    boxes = torch.cat((corner, corner + sides[:, None] * stretch), 2)
    picture = torch.arange(2.0)[:, None, None].expand(2, len(sides), 1)
    rois = torch.cat((picture, boxes), 2).flatten(0, 1)

    features = extract(maps, rois)
    torch.testing.assert_close(features, extract(copies(maps), rois), rtol=1e-6, atol=1e-6)
    levels = (sides / 56).log2().floor().clamp(0, 3).repeat(2)
    assert levels.unique().tolist() == [0, 1, 2, 3]
    size = dict(bbox=7, mask=14)[part]
    for level, copy in enumerate(copies(maps)):
        expected = roi_align(copy, rois[levels == level], size, 0.25 / 2**level, 0, True)
        torch.testing.assert_close(features[levels == level], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('make', BOTH)
def test_a_model_in_channels_last_predicts_the_same(make):
    """By the user's own ``to(memory_format=...)``, on one of mmdetection's backbones."""
    model = detector('ResNet', make).eval()
    if make is mask_rcnn:
        model.roi_head.test_cfg.mask_thr_binary = -1
    data = batch(*SIZES, boxes=BOXES)
    inputs = model.data_preprocessor(data, False)['inputs']
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        model.to(memory_format=layout)
        with torch.no_grad():
            maps = model.extract_feat(inputs)
        assert all(x.is_contiguous(memory_format=layout) for x in maps)
        found.append(predictions(model, data))
    assert not any(x.is_contiguous() for x in maps)
    compare_predictions(*found, share=0.9)


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

startup, *paths = sys.argv[1:]
exec(startup)

import mmdet
import numpy as np
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config

assert ('mmvit_plugins' in sys.modules) == bool(startup)
for name, indices, neck in (
    ('retinanet', (1, 2, 3), dict(in_channels=[128, 256, 512], start_level=0)),
    ('mask-rcnn', (0, 1, 2, 3), dict(in_channels=[64, 128, 256, 512])),
):
    stock = f'.mim/configs/{name.replace("-", "_")}/{name}_r50_fpn_1x_coco.py'
    Path(f'{name}.py').write_text(f'''
_base_ = {str(Path(mmdet.__file__).parent / stock)!r}
model = dict(
    backbone=dict(
        _delete_=True, type='mmvit_plugins.SGFormer', arch='small', out_indices={indices}
    ),
    neck={neck},
)
''')
    if not startup:
        with open(f'{name}.py', 'a') as file:
            file.write("custom_imports = dict(imports='mmvit_plugins')")
picture = np.zeros((48, 64, 3), np.uint8)
small = {'test_pipeline.1.scale': (128, 96), 'test_dataloader.dataset.pipeline.1.scale': (128, 96)}
for path in ('retinanet.py', 'mask-rcnn.py', *paths):
    cfg = Config.fromfile(path)
    assert 'mmvit_plugins' in sys.modules
    cfg.merge_from_dict(small)
    cfg.dump('whole.py')
    model = init_detector(cfg, None, device='cpu', cfg_options={})
    assert type(model.backbone).__module__.startswith('mmvit_plugins.'), type(model.backbone)
    found = inference_detector(model, picture).pred_instances
    assert found.bboxes.shape[1] == 4
    assert ('masks' in found) == ('mask-rcnn' in path)
    out = DetInferencer('whole.py', device='cpu', show_progress=False)(picture)
    assert set(out['predictions'][0]) >= {'bboxes', 'labels', 'scores'}
# what mmdetection asked mmcv for when it was imported, masks of targets do
masks = BitmapMasks(np.ones((1, 8, 8), np.uint8), 8, 8)
masks = masks.crop_and_resize(np.array([[0.0, 0, 8, 8]]), (4, 4), np.array([0]))
assert masks.masks.all()
"""


def run_stock(folder: Path, *arguments: str):
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_STARTUP + STOCK, *arguments],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not stands_in(), reason='mmcv does without us')
def test_stock_apis_need_no_import_where_the_package_is_set_up(tmp_path):
    """By the line that an installation puts among site-packages: the prefix is all there is."""
    run_stock(tmp_path, (ROOT / 'mmvit_plugins/ops/startup.pth').read_text())


@pytest.mark.slow
def test_stock_apis_need_no_import_by_hand(tmp_path):
    """Without that line, stock configs that name the package, and ours, after mmdetection."""
    names = (
        'swin_tiny_retinanet_1x_coco',
        'afformer_base_mask-rcnn_1x_coco',
        'sgformer_small_mask-rcnn_1x_coco',
        't2t_vit_14_mask-rcnn_1x_coco',
    )
    run_stock(tmp_path, '', *(str(ROOT / f'configs/detection/{name}.py') for name in names))
