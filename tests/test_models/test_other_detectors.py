"""The configs in configs/detection/README.md, read from there: other detectors by composition."""

import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import fit, make, shrink_detector
from mmengine.config import Config
from mmengine.runner import Runner

from mmvit_plugins.analysis import build_model
from mmvit_plugins.models.backbones.base import Backbone
from mmvit_plugins.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / 'configs/detection/README.md').read_text()
BLOCKS = re.findall(r'^```python\n(.*?)^```', README, re.DOTALL | re.MULTILINE)
NAME = re.compile(r'# (?:configs/detection/)?(\S+)\.py\n')
# of each config: the detector, and the strides of the maps that its head takes
PYRAMID, FROM_4, LEVELS = (8, 16, 32, 64, 128), (4, 8, 16, 32, 64), (8, 16, 32, 64)
SNIPPETS = {
    'my_config': ('RetinaNet', PYRAMID),
    'sgformer_base_retinanet_1x_coco': ('RetinaNet', PYRAMID),
    'swin_tiny_cascade-mask-rcnn_1x_coco': ('CascadeRCNN', FROM_4),
    't2t_vit_14_fcos_1x_coco': ('FCOS', PYRAMID),
    'afformer_base_atss_1x_coco': ('ATSS', PYRAMID),
    'sgformer_small_dino_12e_coco': ('DINO', LEVELS),
}
# what the page says of other files to take instead
INSTEAD = {
    'cascade-rcnn': (
        'swin_tiny_cascade-mask-rcnn_1x_coco',
        ('cascade-mask-rcnn_r50_fpn.py', 'cascade-rcnn_r50_fpn.py'),
        ('coco_instance.py', 'coco_detection.py'),
    ),
    'deformable-detr': (
        'sgformer_small_dino_12e_coco',
        (
            'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py',
            'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
        ),
    ),
}
DETECTORS = {
    **SNIPPETS,
    'cascade-rcnn': ('CascadeRCNN', FROM_4),
    'deformable-detr': ('DeformableDETR', LEVELS),
}
STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def source_of(name: str) -> str:
    """Take a config's text from the page, or what the page says to change of one."""
    name, *changes = INSTEAD.get(name, (name,))
    [source] = [block for block in BLOCKS if (found := NAME.match(block)) and found[1] == name]
    for old, new in changes:
        assert old in source and new in README
        source = source.replace(old, new)
    return source


@pytest.fixture
def load(tmp_path):
    """Save a config where its first line says, beside our ``_base_``, and read it."""

    def write(name: str) -> Config:
        path = tmp_path / 'configs/detection' / f'{name}.py'
        path.parent.mkdir(parents=True)
        (tmp_path / 'configs/_base_').symlink_to(ROOT / 'configs/_base_')
        path.write_text(source_of(name))
        return Config.fromfile(path)

    return write


def test_every_config_of_the_page_is_tested():
    configs = [block for block in BLOCKS if '_base_' in block]
    assert [NAME.match(block)[1] for block in configs] == list(SNIPPETS)
    existing = {path.stem for path in (ROOT / 'configs/detection').glob('*.py')}
    assert not existing & set(SNIPPETS)


def test_channels_in_the_table():
    rows = re.findall(r'^\| (\w+) \| ([\w, ]+) \| ([\d, ]+) \|$', README, re.MULTILINE)
    assert {kind for kind, _, _ in rows} == {'SwinTransformer', 'SGFormer', 'AFFormer', 'T2TViT'}
    for kind, names, channels in rows:
        for arch in names.split(', '):
            options = dict(out_indices=(2,)) if kind == 'T2TViT' else {}
            with torch.device('meta'):
                backbone = MODELS.build(dict(type=f'mmvit_plugins.{kind}', arch=arch, **options))
            assert list(backbone.out_channels) == [int(x) for x in channels.split(', ')]


def maps_and_sizes(model, strides):
    """Sizes of the maps of a picture, padded as the detector does, and those by the strides."""
    picture = torch.zeros(3, 97, 161, dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=[picture], data_samples=None))['inputs']
    with torch.no_grad():
        maps = model.eval().extract_feat(inputs)
    sizes = [tuple(-(-side // stride) for side in inputs.shape[2:]) for stride in strides]
    return [tuple(out.shape[2:]) for out in maps], sizes


def check_strides(model, strides):
    """Those of the maps and those that heads assume, of which no error would tell."""
    assert isinstance(model.backbone, Backbone)
    found, wanted = maps_and_sizes(model, strides)
    assert found == wanted
    if hasattr(model, 'encoder'):  # places are shares of the picture
        levels = [model.encoder.layers[0].self_attn, model.decoder.layers[0].cross_attn]
        assert [part.num_levels for part in levels] == [len(strides)] * 2
    else:
        head = getattr(model, 'rpn_head', None) or model.bbox_head
        assert [x for x, _ in head.prior_generator.strides] == list(strides)
    if hasattr(model, 'roi_head'):
        for part in model.roi_head.bbox_roi_extractor:
            assert part.featmap_strides == list(strides[:4])


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_maps_have_the_strides_that_the_head_assumes(name, load):
    """At full width."""
    cfg = load(name)
    detector, strides = DETECTORS[name]
    assert cfg.model.type == detector
    check_strides(build_model(cfg), strides)
    preprocessor = cfg.model.data_preprocessor
    assert {key: preprocessor[key] for key in STATISTICS} == STATISTICS


def test_a_base_that_no_config_here_uses():
    """The page says that there is one for each backbone; configs hold the others' truth."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/models/t2t_vit_retinanet.py')
    cfg.default_scope = 'mmdet'
    check_strides(build_model(cfg), PYRAMID)


def test_what_a_pyramid_is_for(load):
    cfg = load('afformer_base_atss_1x_coco')
    cfg.model.neck = cfg.model.neck[-1]
    found, wanted = maps_and_sizes(build_model(cfg), (8, 8, 8, 16, 32))
    assert found == wanted, 'as the page says'


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_trains_and_predicts(name, load, tmp_path):
    cfg = shrink_detector(fit(load(name), make('coco', tmp_path / 'data')))
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'work'), f'{tmp_path.name}-{name}'
    runner = Runner.from_cfg(deepcopy(cfg))
    model = runner.train()
    assert runner.iter == 2
    losses = runner.message_hub.log_scalars['train/loss'].data[0]
    assert len(losses) == 2 and np.isfinite(losses).all() and losses[0] != losses[1]
    momenta = runner.optim_wrapper.optimizer.state
    key = 'exp_avg' if 'AdamW' in str(runner.optim_wrapper.optimizer) else 'momentum_buffer'
    still = [name for name, p in model.backbone.named_parameters() if not momenta[p][key].any()]
    assert not still, 'every parameter of the backbone learns'

    # a step against the gradient makes what is learnt smaller
    batch = next(iter(runner.train_dataloader))
    data = model.data_preprocessor(batch, True)

    def loss() -> torch.Tensor:
        torch.manual_seed(0)
        return model.parse_losses(model(**data, mode='loss'))[0]

    model.train()
    model.zero_grad()
    before = loss()
    before.backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], 1e-4).step()
    assert loss() < before

    model.eval()
    boxes = 0
    for batch in runner.test_dataloader:
        with torch.no_grad():
            for found in model.test_step(batch):
                height, width = found.ori_shape
                corners = found.pred_instances.bboxes
                boxes += len(corners)
                assert torch.isfinite(found.pred_instances.scores).all()
                assert (corners > -1e-3).all()
                assert (corners[:, 0::2] < width + 1e-3).all()
                assert (corners[:, 1::2] < height + 1e-3).all()
                masks = found.pred_instances.get('masks')
                assert (masks is not None) == ('mask' in name)
                assert masks is None or masks.shape == (len(corners), height, width)
    assert boxes, 'an untrained network finds some'
