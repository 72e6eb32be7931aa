"""All configs: they build, agree with themselves, state the authors' recipes, and run."""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmcv.ops
import mmengine.registry
import numpy as np
import pytest
import torch
from hosts import WITHOUT_STARTUP
from miniature import fit, make, shrink, shrink_detector, shrink_plain
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import BATCH_AUGMENTS
from mmpretrain.structures import DataSample

from mmvit_plugins.analysis import build_model
from mmvit_plugins.apis.test_options import set_tta
from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.datasets.checks import LAYOUTS
from mmvit_plugins.datasets.hyperspectral import SCENES, build_band_transform
from mmvit_plugins.errors import UserError
from mmvit_plugins.models.backbones.base import Backbone
from mmvit_plugins.registry import HOSTS

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for path in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in path.parts]
CONFIGS = {path.stem: path for path in FILES}


@dataclass(frozen=True)
class Method:
    """Configs ``NAME_VARIANT_SET`` of a method: each of the variants on each of the sets."""

    name: str
    variants: tuple[str, ...]
    sets: tuple[str, ...]
    drop_path: tuple[float, ...] | None = None  # of each variant, where they differ
    runs: bool = True  # on miniatures, the first variant

    def configs(self, key: str) -> list[str]:
        return [f'{self.name}_{variant}_{key}' for variant in self.variants]


METHODS = (
    Method(
        'afformer',
        ('tiny', 'small', 'base'),
        ('ade20k', 'cityscapes', 'coco-stuff10k', 'in1k'),
    ),
    Method('sgformer', ('small', 'medium', 'base'), ('in1k', 'upernet_ade20k'), (0.1, 0.2, 0.4)),
    Method('swin', ('tiny', 'small', 'base'), ('in1k',), (0.2, 0.3, 0.5)),
    Method('swin', ('tiny', 'small', 'base'), ('upernet_ade20k',), runs=False),
    Method(
        'swin', ('tiny', 'small', 'base', 'large'), ('ft-22k_in1k',), (0.1, 0.2, 0.2, 0.2), False
    ),
    Method('swin', ('base', 'large'), ('384_ft-22k_in1k', 'in22k'), runs=False),
    Method('t2t_vit', ('14', 't_14'), ('in1k',)),
    Method('t2t_vit', ('7', '10', '12'), ('in1k',), runs=False),
    Method('t2t_vit', ('19', '24', 't_19', 't_24'), ('in1k',), runs=False),
    Method('afformer', ('base',), ('mask-rcnn_1x_coco', 'retinanet_bccd'), runs=False),
    Method('afformer', ('tiny',), ('retinanet_1x_coco',), runs=False),
    Method('sgformer', ('small', 'medium'), ('mask-rcnn_1x_coco',), (0.1, 0.2), False),
    Method('sgformer', ('base',), ('mask-rcnn_3x-ms_coco',), (0.4,), False),
    Method('sgformer', ('small',), ('retinanet_bccd',), (0.1,), False),
    Method('swin', ('tiny', 'small', 'base'), ('mask-rcnn_1x_coco',), (0.2, 0.2, 0.3), False),
    Method('swin', ('tiny', 'small'), ('mask-rcnn_3x-ms_coco',), (0.2, 0.2), False),
    Method('swin', ('tiny',), ('retinanet_1x_coco', 'retinanet_bccd'), (0.2,), False),
    Method('t2t_vit', ('14',), ('mask-rcnn_1x_coco',), runs=False),
)
# each group under one recipe: its configs differ in the model only
COMPARISONS = (
    ('afformer_tiny_camvid', 'segformer_mit-b0_camvid'),
    ('afformer_tiny_camvid', 'sgformer_small_upernet_camvid'),
    ('afformer_tiny_camvid', 'swin_tiny_upernet_camvid'),
    ('sgformer_small_grocery22', 'mmpretrain_swin_tiny_grocery22', 'resnet50_grocery22'),
    ('sgformer_small_grocery22', 'swin_tiny_grocery22'),
    ('sgformer_small_grocery22', 't2t_vit_7_grocery22'),
    ('sgformer_small_grocery22', 'mgff_sgformer-small_grocery22', 'vit-tiny_grocery22'),
    ('resnet50_grocery22', 'mgff_resnet50_grocery22'),
    ('swin_tiny_grocery22', 'mgff_swin-tiny_grocery22', 'two-stage_mgff_swin-tiny_grocery22'),
    ('resnet50_retinanet_bccd', 'swin_tiny_retinanet_bccd', 'sgformer_small_retinanet_bccd'),
    ('resnet50_retinanet_bccd', 'afformer_base_retinanet_bccd'),
)
# detectors under one recipe, of which RUNS holds what runs
ON_COCO = (
    (
        'swin_tiny_mask-rcnn_1x_coco',
        'sgformer_small_mask-rcnn_1x_coco',
        'afformer_base_mask-rcnn_1x_coco',
        't2t_vit_14_mask-rcnn_1x_coco',
    ),
    ('swin_tiny_mask-rcnn_3x-ms_coco', 'sgformer_base_mask-rcnn_3x-ms_coco'),
)
# MGFF: the four sets of the paper with their classes, and parts of the neck taken away or exchanged
FINE = {'cub': 200, 'nabirds': 555, 'cars': 196, 'pets': 37}
NECKS = {
    'no-attention': dict(attention=False),
    'no-se': dict(se_ratio=None),
    'no-graph': dict(adjacency=None),
    'unify-only': dict(attention=False, se_ratio=None, adjacency=None, pool='avg'),
    'channel': dict(fuse='channel'),
    'pim': dict(
        attention=False,
        se_ratio=None,
        order='pool_gcn',
        adj_init='pim',
        gcn_act=None,
        merge='linear',
        return_maps=True,
    ),
}
# LSGA-ViT: each scene under each protocol, and the attentions under the first
LSGA_SCENES = ('indian-pines', 'pavia-u', 'salinas', 'houston2013')
PROTOCOLS = {'': 'sklearn', '_field-caps': 'field_caps', '_disjoint': 'disjoint'}
ABLATION = {
    'sa': ('self', 'none'),
    'lsa': ('paper', 'none'),
    'sga': ('self', 'flat'),
    'lsga': ('paper', 'flat'),
}
# trained on miniatures; the other variants differ from these in the backbone only
RUNS = tuple(
    dict.fromkeys(
        (
            *(method.configs(key)[0] for method in METHODS if method.runs for key in method.sets),
            *(name for names in COMPARISONS for name in names),
            'afformer_tiny_digits',
            'sgformer_small_fpn_ade20k',
            't2t_vit_14_upernet_ade20k',
            # each scene and each protocol once
            'lsga_indian-pines_lsga',
            'lsga_pavia-u_field-caps',
            'lsga_salinas_disjoint',
            'lsga_houston2013',
            'lsga_synthetic',
            'lsga_indian-pines_field-caps_robust',
            'mgff_swin-base_cub-384',
            *(f'two-stage_mgff_swin-base_{key}-384' for key in FINE),
            'mgff_swin-tiny_pim_grocery22',
            'swin_tiny_retinanet_1x_coco',
            'afformer_tiny_retinanet_1x_coco',
            'afformer_base_mask-rcnn_1x_coco',
            'sgformer_base_mask-rcnn_3x-ms_coco',
            't2t_vit_14_mask-rcnn_1x_coco',
        )
    )
)
# each file is read once; `load` hands out copies
READ = {name: Config.fromfile(path) for name, path in CONFIGS.items()}
SCOPES = {name: cfg.default_scope for name, cfg in READ.items() if 'train_dataloader' in cfg}
SEGMENTORS = [name for name, scope in SCOPES.items() if scope == 'mmseg']
DETECTORS = [name for name, scope in SCOPES.items() if scope == 'mmdet']
HYPERSPECTRAL = [name for name in SCOPES if name.startswith('lsga_')]
CLASSIFIERS = [
    name for name, scope in SCOPES.items() if scope == 'mmpretrain' and name not in HYPERSPECTRAL
]
REGISTRIES = [
    value
    for value in vars(mmengine.registry).values()
    if isinstance(value, mmengine.registry.Registry)
]
REGISTRIES.append(BATCH_AUGMENTS)
# read by the builders before the class sees the arguments, or passed on: to Resize by RandomResize,
# to the average by EMAHook
PASSED_ON = {
    'constructor',
    'convert_to_iter_based',
    'keep_ratio',
    'momentum',
    'paramwise_cfg',
    'requires_grad',
}
SMALL_SWIN = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=7)
# what is neither mmengine's runner's nor a tool's, but names a part of the config for reuse
NAMED_PARTS = {
    'bgr_mean',
    'bgr_std',
    'crop_size',
    'data_root',
    'dataset',
    'dataset_type',
    'ignore_index',
    'load_annotations',
    'metainfo',
    'resize',
    'scale',
    'test_pipeline',
    'train_pipeline',
}


def load(name: str) -> Config:
    return deepcopy(READ[name])


def data_of(name: str) -> str:
    """Tell which data a config is for."""
    parts = name.split('_')
    return parts[1] if name in HYPERSPECTRAL else parts[-1].removesuffix('-384')


def typed_dicts(value):
    """Yield every dict with a ``type`` inside a config."""
    if isinstance(value, dict):
        if isinstance(value.get('type'), str):
            yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from typed_dicts(item)


def find_class(name: str):
    """Look a type up in every registry, in the current scope."""
    for registry in REGISTRIES:
        with registry.switch_scope_and_registry(None) as node:
            found = node.get(name)
        if found is not None:
            return found
    if found := getattr(mmcv.ops, name, None):  # as mmdetection looks up 'nms' and 'RoIAlign'
        return found
    raise KeyError(name)


def accepted_arguments(function) -> set:
    """Collect the arguments that a class names, following ``**kwargs`` to its bases."""
    if not inspect.isclass(function):
        return set(inspect.signature(function).parameters)
    names = set()
    for base in function.__mro__:
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters
            names |= set(parameters)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                break
    return names - {'self', 'args', 'kwargs'}


def make_runner(cfg: Config, folder: Path, name: str) -> Runner:
    cfg.work_dir, cfg.experiment_name = str(folder / name), f'{folder.name}-{name}'
    return Runner.from_cfg(cfg)


def full_length_runner(cfg: Config, data: Path, folder: Path) -> Runner:
    """Build a runner on a miniature that keeps the config's own length and schedule."""
    kept = {key: deepcopy(cfg[key]) for key in ('train_cfg', 'param_scheduler')}
    fit(cfg, data).update(kept)
    return make_runner(cfg, folder, 'schedule')


def learning_rates(runner: Runner) -> np.ndarray:
    """Step the runner's own schedulers to the end; entry t is the rate of iteration t."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    optimizer = runner.optim_wrapper.optimizer
    groups = optimizer.param_groups
    assert len({group['lr'] for group in groups}) == 1
    optimizer.param_groups = groups[:1]  # schedulers walk through all groups, thousands of times
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    rates = []
    for done in range(1, runner.max_iters + 1):
        rates.append(runner.optim_wrapper.param_groups[0]['lr'])
        for scheduler in schedulers:
            if not scheduler.by_epoch or done % len(runner.train_dataloader) == 0:
                scheduler.step()
    optimizer.param_groups = groups
    return np.array(rates)


def decays(runner: Runner) -> dict[str, float]:
    """Look up the weight decay of every parameter in the built optimizer."""
    groups = {
        id(parameter): group['weight_decay']
        for group in runner.optim_wrapper.param_groups
        for parameter in group['params']
    }
    return {name: groups[id(parameter)] for name, parameter in runner.model.named_parameters()}


def test_every_promised_config_exists():
    promised = {name for method in METHODS for key in method.sets for name in method.configs(key)}
    promised |= {f'lsga_{scene}{protocol}' for scene in LSGA_SCENES for protocol in PROTOCOLS}
    promised |= {f'lsga_indian-pines_{key}' for key in ABLATION}
    promised |= {f'lsga_indian-pines_{key}_robust' for key in ('field-caps', 'disjoint')}
    promised |= {f'{path}mgff_swin-base_{key}-384' for path in ('', 'two-stage_') for key in FINE}
    assert promised | set(RUNS) <= set(CONFIGS)
    assert len(CONFIGS) == len(FILES), 'a name says which config it is'
    assert (ROOT / 'configs/afformer/afformer_tiny_ade20k.py').is_file()


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_builds_in_its_host_with_channels_that_fit(name, monkeypatch):
    """At full size."""
    cfg = load(name)
    assert cfg.default_scope in HOSTS
    assert cfg.custom_imports == dict(imports=['mmvit_plugins'], allow_failed_imports=False), (
        'stock init_model(config) relies on it'
    )
    backbone = cfg.model.get('backbone', cfg.model)
    # mmpretrain's Swin refuses maps that are smaller than a window
    side = 224 if backbone.get('pad_small_map') is False else 64
    shape = 1, 3, side, side
    if name in HYPERSPECTRAL:
        side = cfg.test_dataloader.dataset.window_size
        shape = 1, backbone.in_channels, side, side
    # without numbers, where the network can do without: some have 200 M parameters
    device = 'meta' if backbone.type.startswith('mmvit_plugins.') else 'cpu'
    if device == 'meta':  # which autocast does not know
        monkeypatch.setattr(torch, 'autocast', lambda *args, **options: nullcontext())
    with torch.device(device), torch.no_grad():
        model = build_model(cfg)
        stages = getattr(model, 'backbone', model)(torch.zeros(shape))
        channels = [stage.shape[1] for stage in stages]
    if backbone is cfg.model:
        return
    if backbone.type.startswith('mmvit_plugins.'):
        assert list(model.backbone.out_channels) == channels
    if cfg.default_scope == 'mmpretrain':
        out = channels[-1]
        if cfg.model.get('neck') and cfg.model.neck.type == 'mmvit_plugins.MGFF':
            assert list(model.neck.in_channels) == channels
            sides = [stage.shape[2] for stage in stages]
            assert list(cfg.model.neck.strides) == [side // size for size in sides]
            out = model.neck.out_channels
        assert model.head.in_channels == out
        return
    if cfg.default_scope == 'mmdet':
        check_pyramid(model, channels)
        return
    if model.with_neck:
        assert model.neck.in_channels == channels
        assert model.decode_head.feature_strides == list(model.backbone.strides)
        channels = [model.neck.out_channels] * model.neck.num_outs
    heads = [getattr(model, key, None) for key in ('decode_head', 'auxiliary_head')]
    for head in filter(None, heads):
        wanted = channels[head.in_index] if isinstance(head.in_index, int) else channels
        assert head.in_channels == wanted
    assert cfg.model.test_cfg.mode == 'whole'


def check_pyramid(model, channels):
    """From the backbone through all necks to the anchors: channels and strides."""
    ours = isinstance(model.backbone, Backbone)
    # ResNet's ``strides`` are those of its stages
    strides = model.backbone.strides if ours else (4 * 2**i for i in model.backbone.out_indices)
    strides = list(strides)
    *first, fpn = model.neck if isinstance(model.neck, torch.nn.Sequential) else [model.neck]
    for neck in first:
        assert list(neck.in_channels) == channels
        channels, strides = list(neck.out_channels), list(neck.strides)
    assert (fpn.in_channels, fpn.start_level) == (channels, 0)
    head = getattr(model, 'rpn_head', None) or model.bbox_head
    assert head.in_channels == fpn.out_channels
    anchors = [x for x, _ in head.prior_generator.strides]
    assert anchors == [strides[0] * 2**i for i in range(fpn.num_outs)]
    assert anchors[: len(strides)] == strides
    if hasattr(model, 'roi_head'):
        roi = model.roi_head
        for part in (roi.bbox_roi_extractor, roi.mask_roi_extractor):
            assert part.featmap_strides == strides
            assert part.out_channels == fpn.out_channels
        assert {roi.bbox_head.in_channels, roi.mask_head.in_channels} == {fpn.out_channels}


@pytest.mark.parametrize('name', CONFIGS)
def test_no_argument_is_ignored(name):
    cfg = load(name)
    if name in SCOPES:
        read = set(inspect.signature(Runner.__init__).parameters) | {'sync_bn', 'custom_imports'}
        assert set(cfg) <= read | {'tta_model', 'tta_pipeline'} | NAMED_PARTS
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        content = cfg.to_dict()
        for entry in typed_dicts(content):
            if 'band_transform' in entry:
                build_band_transform(entry['band_transform'])  # refuses what it does not know
                entry['band_transform'] = None
        for entry in typed_dicts(content):
            unknown = set(entry) - {'type'} - accepted_arguments(find_class(entry['type']))
            assert unknown <= PASSED_ON, f'{entry["type"]} does not know {unknown}'


@pytest.mark.parametrize('name', SCOPES)
def test_docstring_opens_with_the_command(name):
    """The cost that follows is checked with the metafiles."""
    doc = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    path = CONFIGS[name].relative_to(ROOT).as_posix()
    assert re.search(rf'Run: .*({re.escape(path)}|make demo)', doc)


@pytest.mark.parametrize('name', SEGMENTORS)
def test_classes_sizes_and_ignored_label_agree(name):
    cfg = load(name)
    model, steps = cfg.model, {step.type: step for step in cfg.train_pipeline}
    with DefaultScope.overwrite_default_scope('mmseg'):
        loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
        sets = [DATASETS.build(dict(loader.dataset, lazy_init=True)) for loader in loaders]
    check = steps['mmvit_plugins.CheckLabels']
    heads = [model[key] for key in ('decode_head', 'auxiliary_head') if key in model]
    classes = heads[0].num_classes
    assert {len(data.metainfo['classes']) for data in sets} == {classes}
    assert {len(data.metainfo['palette']) for data in sets} == {classes}
    assert {check.num_classes, *(head.num_classes for head in heads)} == {classes}

    ignored = {
        model.data_preprocessor.seg_pad_val,
        check.get('ignore_index', 255),
        steps['RandomCrop'].get('ignore_index', 255),
        cfg.val_evaluator.get('ignore_index', 255),
        cfg.test_evaluator.get('ignore_index', 255),
        *(head.get('ignore_index', 255) for head in heads),
        *(data.ignore_index for data in sets),
    }
    assert len(ignored) == 1
    assert ignored.pop() >= classes
    assert model.data_preprocessor.size == steps['RandomCrop'].crop_size

    order = [step.type for step in cfg.train_pipeline]
    assert order.index('mmvit_plugins.CheckLabels') == order.index('LoadAnnotations') + 1
    assert cfg.test_pipeline[0].type == 'LoadImageFromFile', (
        'inference_model replaces the first step'
    )
    assert cfg.val_dataloader.dataset.pipeline == cfg.test_pipeline
    assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline


@pytest.mark.parametrize('name', CLASSIFIERS)
def test_classes_and_sizes_agree(name):
    cfg = load(name)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        datas = [cfg[f'{part}_dataloader'].dataset for part in ('train', 'val', 'test')]
        metas = [find_class(data.type).METAINFO | data.get('metainfo', {}) for data in datas]
    classes = {len(meta.get('classes', ())) for meta in metas}
    if name.endswith(('_in22k', '_nabirds-384')):
        assert classes == {0}, 'the names come with the data'
    else:
        assert classes == {cfg.model.head.num_classes}
    assert cfg.model.data_preprocessor.num_classes == cfg.model.head.num_classes
    for pipeline in (cfg.test_pipeline, cfg.tta_pipeline):
        steps = {step.type: step for step in pipeline}
        resize = steps.get('ResizeEdge') or steps['Resize']
        if 'CenterCrop' in steps:
            assert steps['CenterCrop'].crop_size <= resize.scale
        elif cfg.model.type == 'mmvit_plugins.TwoStageClassifier':
            assert resize.scale == 512 > cfg.model.input_size == 384, 'more than one look needs'
        else:
            assert resize.scale == (384, 384), 'the whole picture'
    assert cfg.tta_pipeline[:-1] == cfg.test_pipeline[:-1]
    assert cfg.val_dataloader.dataset.pipeline == cfg.test_pipeline
    assert cfg.test_dataloader.dataset.pipeline == cfg.test_pipeline


@pytest.mark.parametrize('name', DETECTORS)
def test_classes_annotations_and_pictures_agree(name):
    cfg = load(name)
    loaders = [cfg[f'{part}_dataloader'] for part in ('train', 'val', 'test')]
    heads = cfg.model.get('roi_head') or {}
    heads = [head for key in ('bbox_head', 'mask_head') if (head := heads.get(key))]
    with DefaultScope.overwrite_default_scope('mmdet'):
        metas = [
            find_class(loader.dataset.type).METAINFO | loader.dataset.get('metainfo', {})
            for loader in loaders
        ]
    classes = {len(meta['classes']) for meta in metas} | {len(meta['palette']) for meta in metas}
    assert classes == {head.num_classes for head in heads or [cfg.model.bbox_head]}
    for loader, evaluator in zip(loaders[1:], (cfg.val_evaluator, cfg.test_evaluator), strict=True):
        data = loader.dataset
        assert evaluator.ann_file == data.data_root + data.ann_file
        assert data.test_mode and data.pipeline == cfg.test_pipeline
    masks = [step.get('with_mask', False) for step in cfg.train_pipeline if 'Ann' in step.type]
    if data_of(name) != 'digits':  # which loads them for any detector
        assert masks == [cfg.model.type == 'MaskRCNN']
    assert ('segm' in cfg.val_evaluator.metric) == (cfg.model.type == 'MaskRCNN')
    assert cfg.test_pipeline[0].type == 'LoadImageFromFile', (
        'inference_detector replaces the first step'
    )
    if data_of(name) == 'digits':
        assert len({loader.dataset.ann_file for loader in loaders}) == 2
    elif data_of(name) == 'bccd':
        assert len({loader.dataset.ann_file for loader in loaders}) == 3
    else:
        assert cfg.auto_scale_lr.base_batch_size == 8 * cfg.train_dataloader.batch_size == 16


@pytest.mark.parametrize('name', HYPERSPECTRAL)
def test_windows_bands_and_classes_agree(name):
    cfg = load(name)
    info, model = SCENES[data_of(name)], cfg.model
    assert model.head.num_classes == model.data_preprocessor.num_classes == len(info.classes)
    assert not {'mean', 'std', 'to_rgb'} & set(model.data_preprocessor)
    loaders = {
        part: cfg[f'{part}_dataloader']
        for part in ('train', 'val', 'test')
        if cfg[f'{part}_dataloader']
    }
    for part, loader in loaders.items():
        assert loader.dataset.split == part
        assert loader.sampler.shuffle == (part == 'train')
        assert loader.num_workers == 0
        settings = {key: loader.dataset[key] for key in set(loader.dataset) - {'split', 'pipeline'}}
        shared = {key: cfg.dataset[key] for key in set(cfg.dataset) - {'pipeline'}}
        assert settings == shared, 'all parts come from one split'
        assert loader.dataset.scene == data_of(name)
        assert loader.dataset.window_size == model.backbone.window_size
        transform = build_band_transform(loader.dataset.band_transform)
        labels = np.arange(300) % len(info.classes) + 1
        transform.fit(np.random.rand(300, info.shape[2]).astype(np.float32), labels)
        assert transform.out_bands == model.backbone.in_channels
    # an epoch is chosen where there are pixels to choose it on, and never on those of the test
    chosen = cfg.default_hooks.checkpoint.get('save_best')
    split = cfg.train_dataloader.dataset.split_cfg
    assert ('val' in split) == ('val' in loaders)
    robust = name.endswith('_robust')  # the recipe was chosen so, its last epoch counts
    assert chosen == ('hsi/OA' if 'val' in loaders and not robust else None)
    assert bool(cfg.val_cfg) == bool(cfg.val_evaluator) == ('val' in loaders)
    assert cfg.test_evaluator.type == 'mmvit_plugins.HyperspectralMetric'
    hooks = {hook.type for hook in cfg.custom_hooks}
    assert {'mmvit_plugins.DataCheckHook', 'mmvit_plugins.HyperspectralHook'} <= hooks


def test_lsga_recipe_is_the_authors():
    """train.py and option.py of their repository, see configs/lsga/README.md."""
    cfg = load('lsga_indian-pines')
    assert cfg.optim_wrapper == dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
    assert cfg.param_scheduler == [], 'constant'
    assert cfg.train_cfg.max_epochs == 70
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 128
    assert cfg.randomness == dict(seed=531)
    data = cfg.train_dataloader.dataset
    assert data.split_cfg == dict(mode='sklearn', train=0.1, seed=5)
    assert data.band_transform == dict(type='PCA', n_components=36, whiten=True)
    assert (data.fit_on, data.pad_mode, data.window_size) == ('scene', 'constant', 9)
    assert data.get('pad_value', 0) == 0
    assert [step.type for step in data.pipeline] == ['PackInputs']
    backbone = cfg.model.backbone
    assert (backbone.attention, backbone.position) == ('slots', 'flat')
    assert (backbone.embed_dims, backbone.depths, backbone.num_heads) == (120, (2,), (12,))
    assert cfg.default_hooks.checkpoint.interval <= 70, 'the last epoch is saved'


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_scenes_differ_in_names_only(protocol):
    """So that one scene under each protocol is enough for the tests that run."""
    cfgs = [load(f'lsga_{scene}{protocol}').to_dict() for scene in LSGA_SCENES]
    for cfg, scene in zip(cfgs, LSGA_SCENES, strict=True):
        loaders = [cfg[f'{part}_dataloader'] for part in ('train', 'val', 'test')]
        for data in (cfg['dataset'], *(loader['dataset'] for loader in loaders if loader)):
            assert data.pop('scene') == scene
            assert data['split_cfg']['mode'] == PROTOCOLS[protocol]
        for part in ('data_preprocessor', 'head'):
            assert cfg['model'][part].pop('num_classes') == len(SCENES[scene].classes)
    assert all(cfg == cfgs[0] for cfg in cfgs)


def test_protocols_differ_in_data_and_choice_only():
    published, caps, disjoint = (load(f'lsga_salinas{key}').to_dict() for key in PROTOCOLS)
    for cfg in (caps, disjoint):
        for part in ('train', 'val', 'test'):
            data = cfg[f'{part}_dataloader']['dataset']
            assert data['split_cfg'].pop('mode') in PROTOCOLS.values()
            assert data['split_cfg'] == dict(train=0.1, val=0.05, guard='window', seed=0)
            assert (data['fit_on'], data['pad_mode']) == ('train_window', 'symmetric')
        assert cfg['default_hooks']['checkpoint'].pop('save_best') == 'hsi/OA'
        assert cfg['default_hooks']['checkpoint'].pop('rule') == 'greater'
        assert cfg['train_cfg']['val_interval'] == 5
    for cfg in (published, caps, disjoint):
        for key in ('dataset', 'val_cfg', 'val_dataloader', 'val_evaluator'):
            del cfg[key]
        for part in ('train', 'test'):
            for key in ('split_cfg', 'fit_on', 'pad_mode'):
                del cfg[f'{part}_dataloader']['dataset'][key]
    assert published == caps == disjoint


def test_ablation_differs_in_the_attention_only():
    full = load('lsga_indian-pines').to_dict()
    for key, (attention, position) in ABLATION.items():
        cfg = load(f'lsga_indian-pines_{key}').to_dict()
        backbone = cfg['model']['backbone']
        assert (backbone['attention'], backbone['position']) == (attention, position)
        backbone.update({key: full['model']['backbone'][key] for key in ('attention', 'position')})
        assert cfg == full


def test_robust_recipe_is_on_the_same_splits():
    for protocol in ('field-caps', 'disjoint'):
        plain, robust = (load(f'lsga_indian-pines_{protocol}{key}') for key in ('', '_robust'))
        for part in ('train', 'val', 'test'):
            datas = [cfg[f'{part}_dataloader'].dataset for cfg in (plain, robust)]
            for key in ('scene', 'split', 'fit_on', 'pad_mode'):
                assert datas[0][key] == datas[1][key], key
            assert datas[1].split_cfg == datas[0].split_cfg | dict(guard=datas[0].window_size // 2)
            steps = [step.type for step in datas[1].pipeline]
            assert (len(steps) > 1) == (part == 'train'), 'only training windows are changed'


@pytest.mark.parametrize(
    ('method', 'key'),
    [
        pytest.param(method, key, id=method.configs(key)[0])
        for method in METHODS
        for key in method.sets
    ],
)
def test_variants_differ_in_the_backbone_only(method, key):
    """So that one variant of each data set is enough for the tests that run."""
    cfgs = [load(name).to_dict() for name in method.configs(key)]
    backbones = [cfg['model']['backbone'] for cfg in cfgs]
    assert tuple(backbone.pop('arch') for backbone in backbones) == method.variants
    if method.drop_path:
        assert tuple(backbone.pop('drop_path_rate') for backbone in backbones) == method.drop_path
    for cfg, variant in zip(cfgs, method.variants, strict=True):
        model = cfg['model']
        # whether they fit is seen where the models are built
        necks = model.get('neck') or {}
        for part in necks if isinstance(necks, list) else [necks]:
            part.pop('in_channels', None)
        for part in ('head', 'decode_head', 'auxiliary_head'):
            (model.get(part) or {}).pop('in_channels', None)
        for part in (model, model['backbone']):
            if 'init_cfg' in part:
                assert f'{method.name}_{variant}_' in part['init_cfg'].pop('checkpoint')
    assert all(cfg == cfgs[0] for cfg in cfgs)


@pytest.mark.parametrize('names', (*COMPARISONS, *ON_COCO), ids=' '.join)
def test_comparison_differs_in_the_model_only(names):
    cfgs = [load(name).to_dict() for name in names]
    models = [cfg.pop('model') for cfg in cfgs]
    assert all(cfg == cfgs[0] for cfg in cfgs)
    for model in models:
        if model.pop('localizer', None):
            model['type'] = 'ImageClassifier'  # which it is in training
        for part in ('backbone', 'neck', 'auxiliary_head', 'init_cfg'):
            model.pop(part, None)
        for key in ('head', 'decode_head', 'bbox_head'):
            if key in model:  # what the head is asked to learn
                head = model[key]
                model[key] = {
                    k: head.get(k) for k in ('num_classes', 'loss', 'loss_decode', 'loss_cls')
                }
    assert all(model == models[0] for model in models)


def test_fine_grained_configs_differ_in_the_data_only():
    """So that what is tested of CUB's holds for all."""
    for stages in ('', 'two-stage_'):
        cfgs = [load(f'{stages}mgff_swin-base_{key}-384').to_dict() for key in FINE]
        for cfg, (key, classes) in zip(cfgs, FINE.items(), strict=True):
            for part in ('data_preprocessor', 'head'):
                assert cfg['model'][part].pop('num_classes') == classes
            root = {cfg.pop('data_root')}
            for part in ('train', 'val', 'test'):
                data = cfg[f'{part}_dataloader']['dataset']
                assert data.pop('type') in LAYOUTS or key == 'nabirds'
                assert {data.pop('data_root')} == root
                first = 'trainval' if key == 'pets' else 'train'
                assert data.pop('split') == (first if part == 'train' else 'test')
            del cfg['dataset_type']
        assert all(cfg == cfgs[0] for cfg in cfgs)


def test_two_stages_differ_in_the_second_look_only():
    one, two = (load(f'{stages}mgff_swin-base_cub-384').to_dict() for stages in ('', 'two-stage_'))
    assert two['test_pipeline'] == [
        step for step in one['test_pipeline'] if 'crop_size' not in step
    ]
    localizer = two['model'].pop('localizer')
    assert (localizer['mean'], localizer['std']) == ([127.5] * 3, [127.5] * 3), "in21k's"
    assert one['model']['data_preprocessor']['mean'] != localizer['mean']
    assert two['model'].pop('type') == 'mmvit_plugins.TwoStageClassifier'
    assert one['model'].pop('type') == 'ImageClassifier'
    assert two['model'].pop('input_size') == one['train_pipeline'][2]['crop_size'] == 384
    for cfg in (one, two):
        for key in ('test_pipeline', 'tta_pipeline', 'val_dataloader', 'test_dataloader'):
            del cfg[key]
    assert one == two


def test_mgff_recipe(tmp_path):
    """Resize, crop, SGD, rate, momentum, cosine and length are published, the rest is ours."""
    cfg = load('mgff_swin-base_cub-384')
    train, test = ([step.type for step in cfg[f'{part}_pipeline']] for part in ('train', 'test'))
    assert train[1:3] == ['Resize', 'RandomCrop']
    assert test[1:3] == ['Resize', 'CenterCrop']
    for steps in (cfg.train_pipeline, cfg.test_pipeline):
        assert (steps[1].scale, steps[2].crop_size) == (512, 384)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=2e-4, momentum=0.99, weight_decay=5e-4
    )
    assert cfg.optim_wrapper.clip_grad == dict(max_norm=5.0)
    assert cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.model.neck == dict(
        type='mmvit_plugins.MGFF',
        in_channels=(256, 512, 1024, 1024),
        strides=(8, 16, 32, 32),
        grid_size=384 // 32,
    ), 'the defaults of the neck are what the README describes'

    runner = full_length_runner(shrink(cfg), make('cub', tmp_path / 'data'), tmp_path)
    rates = learning_rates(runner).reshape(50, 2)
    assert (rates[:, 0] == rates[:, 1]).all(), 'the rate changes once an epoch'
    cosine = 2e-4 * (1 + np.cos(np.pi * np.arange(50) / 50)) / 2
    np.testing.assert_allclose(rates[:, 0], cosine, rtol=1e-6)
    found = decays(runner)
    for key, parameter in runner.model.named_parameters():
        named = key.endswith(('.relative_position_bias_table', '.adjacency'))
        assert found[key] == (0.0 if parameter.ndim == 1 or named else 5e-4), key
    for key in ('attention.0.relative_position_bias_table', 'graph.conv.adjacency'):
        assert f'neck.{key}' in found
    assert found['neck.graph.conv.alpha'] == 0.0


def test_mgff_schedule_for_runs_that_diverge(tmp_path):
    cfg, other = (load(f'mgff_swin-base_{key}cub-384') for key in ('low-momentum_', ''))
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=5e-4, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    plain = [config.to_dict() for config in (cfg, other)]
    for config in plain:
        del config['optim_wrapper']['optimizer'], config['param_scheduler']
    assert plain[0] == plain[1]

    cfg.train_cfg.max_epochs = 1000  # of two iterations here
    runner = full_length_runner(shrink(cfg), make('cub', tmp_path / 'data'), tmp_path)
    rates, t = learning_rates(runner), np.arange(2000)
    ramp = 1 - (1 - np.minimum(t / 799, 1)) * (1 - 1e-3)
    cosine = 5e-4 * (1 + np.cos(np.pi * t / 2000)) / 2
    np.testing.assert_allclose(rates, cosine * ramp, rtol=1e-3)


def test_rate_of_the_neck_as_its_schedule_says():
    """The option in the docstring of mgff_sgd.py, which is code here."""
    doc = ast.get_docstring(ast.parse((ROOT / 'configs/_base_/schedules/mgff_sgd.py').read_text()))
    option = {}
    exec(textwrap.dedent(doc.partition('::')[2]), option)
    cfg = shrink(load('mgff_swin-base_cub-384'))
    cfg.merge_from_dict(dict(optim_wrapper=option['optim_wrapper']))
    model = build_model(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    found = {id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    for name, parameter in model.named_parameters():
        rate, decay = found[id(parameter)]
        if not name.endswith('.relative_position_bias_table'):
            assert rate == pytest.approx(2e-3 if name.startswith('neck.') else 2e-4), name
        if name.endswith(('.adjacency', '_bias_table')):
            assert decay == 0.0


@pytest.mark.parametrize('name', [n for n in CONFIGS if 'mgff' in n and n not in RUNS])
def test_every_neck_learns(name):
    """One step and one prediction; the data of these configs are run under another config."""
    cfg = shrink(load(name))
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_cfg = None  # names a file
    model.init_weights()
    model.train()
    samples = [DataSample().set_gt_label(label) for label in (1, 2)]
    pictures = torch.randn(2, 3, 64, 96)
    sum(model.loss(pictures, samples).values()).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    waiting = ('neck.graph.conv.query.', 'neck.graph.conv.key.')  # until alpha has left zero
    assert all(name.startswith(waiting) for name in still)
    with torch.no_grad():
        score = model.eval().predict(pictures)[1].pred_score
    assert score.shape == (cfg.model.head.num_classes,)
    assert score.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize('part', NECKS)
def test_parts_of_the_neck_differ_in_what_they_say(part):
    cfg, full = (load(f'mgff_swin-tiny_{key}grocery22').to_dict() for key in (f'{part}_', ''))
    assert {key: cfg['model']['neck'].pop(key) for key in NECKS[part]} == NECKS[part]
    head = cfg['model']['head']
    if part == 'channel':
        assert head.pop('in_channels') == 4 * full['model']['head'].pop('in_channels')
    if part == 'pim':
        assert head.pop('aux_in_channels') == (768,) * 4
    assert cfg == full


def test_camvid_chooses_and_reports_on_different_splits():
    cfg = load('afformer_tiny_camvid')
    assert cfg.test_dataloader.dataset.data_prefix.img_path == 'images/test'
    assert cfg.val_dataloader.dataset.data_prefix.img_path == 'images/val'


@pytest.mark.parametrize(
    ('key', 'batch', 'rate', 'iterations', 'scale', 'crop'),
    [
        ('ade20k', 16, 3e-4, 160000, (2048, 512), (512, 512)),
        ('cityscapes', 8, 4e-4, 160000, (2048, 1024), (1024, 1024)),
        ('coco-stuff10k', 16, 3e-4, 80000, (2048, 512), (512, 512)),
    ],
)
def test_recipe_is_the_authors(key, batch, rate, iterations, scale, crop):
    cfg = load(f'afformer_tiny_{key}')
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=rate, betas=(0.9, 0.999), weight_decay=0.01),
    ), 'the authors decay everything alike'
    assert cfg.train_cfg.max_iters == iterations
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    assert not cfg.auto_scale_lr.enable
    steps = {step.type: step for step in cfg.train_pipeline}
    assert steps['RandomResize'] == dict(
        type='RandomResize', scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True
    )
    assert steps['RandomCrop'] == dict(type='RandomCrop', crop_size=crop, cat_max_ratio=0.75)
    multiple = [step for step in cfg.test_pipeline if step.type == 'ResizeToMultiple']
    wanted = [] if key == 'cityscapes' else [dict(type='ResizeToMultiple', size_divisor=32)]
    assert multiple == wanted
    ratios = [step.scale[1] / scale[1] for step in cfg.tta_pipeline[1].transforms[0]]
    assert ratios == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]


def test_ade20k_learning_rate_is_that_of_the_authors_runner(tmp_path):
    """mmcv 1.x: poly from iteration 0, multiplied by a linear ramp over 1,500 iterations."""
    data = make('ade20k', tmp_path / 'data')
    rates = learning_rates(full_length_runner(load('afformer_tiny_ade20k'), data, tmp_path))

    t = np.arange(160000)
    ramp = 1 - (1 - np.minimum(t / 1500, 1)) * (1 - 1e-6)
    np.testing.assert_allclose(rates, 3e-4 * (1 - t / 160000) * ramp, rtol=0, atol=3e-9)
    assert rates[0] == pytest.approx(3e-10)
    assert rates[1500] == pytest.approx(2.972e-4, rel=1e-4)
    assert rates[-1] < 1e-8


def test_one_option_shortens_a_schedule(tmp_path):
    cfg = load('afformer_tiny_camvid')
    cfg.merge_from_dict({'train_cfg.max_iters': 100, 'param_scheduler.0.end': 11})
    rates = learning_rates(full_length_runner(cfg, make('camvid', tmp_path / 'data'), tmp_path))
    assert len(rates) == 100
    assert rates.argmax() == 10
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_imagenet_recipe_is_deits(tmp_path):
    cfg = load('afformer_tiny_in1k')
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == 1024
    data = make('in1k', tmp_path / 'data', pictures=1)
    runner = full_length_runner(cfg, data, tmp_path)
    rates = learning_rates(runner)
    assert len(rates) == 2 * 300, 'two iterations to an epoch here'
    assert rates[0] == pytest.approx(1e-6)
    t = np.arange(10, 600)
    cosine = 1e-5 + (1e-3 - 1e-5) * (1 + np.cos(np.pi * t / 600)) / 2
    np.testing.assert_allclose(rates[10:], cosine, rtol=1e-4)

    vectors = {name for name, p in runner.model.named_parameters() if p.ndim == 1}
    assert decays(runner) == {
        name: 0.0 if name in vectors else 0.05 for name, _ in runner.model.named_parameters()
    }


@pytest.mark.parametrize(
    ('name', 'batch', 'rate', 'decay', 'warm_up', 'exact'),
    [
        ('sgformer_small_in1k', 1024, 1e-3, 0.05, 20, 0.011),
        ('t2t_vit_14_in1k', 512, 5e-4, 0.05, 10, 0.0022),
        ('t2t_vit_7_in1k', 512, 1e-3, 0.03, 10, 0.0022),
    ],
)
def test_imagenet_recipe_is_that_of_timm(name, batch, rate, decay, warm_up, exact, tmp_path):
    """The authors' main.py with timm 0.3.4: see each of its rules beside the config's."""
    cfg = load(name)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW', lr=rate, betas=(0.9, 0.999), weight_decay=decay
    )
    assert 'clip_grad' not in cfg.optim_wrapper
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert cfg.model.train_cfg.augments == [
        dict(type='Mixup', alpha=0.8),
        dict(type='CutMix', alpha=1.0),
    ]
    assert cfg.model.head.loss == dict(
        type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
    )
    steps = {step.type: step for step in (*cfg.train_pipeline, *cfg.test_pipeline)}
    assert steps['ResizeEdge'].scale == int(224 / 0.9) == 248
    assert steps['CenterCrop'].crop_size == steps['RandomResizedCrop'].scale == 224
    assert steps['RandomErasing'].erase_prob == 0.25
    randaugment = steps['RandAugment']
    assert (randaugment.num_policies, randaugment.magnitude_level) == (2, 9)
    assert randaugment.magnitude_std == 0.5
    assert cfg.randomness == dict(seed=42, diff_rank_seed=True)

    data = make('in1k', tmp_path / 'data', pictures=1)
    runner = full_length_runner(cfg, data, tmp_path)
    rates = learning_rates(runner).reshape(310, 2)
    assert (rates[:, 0] == rates[:, 1]).all(), 'the rate changes once an epoch'
    epoch = np.arange(310)
    cosine = 1e-5 + (rate - 1e-5) * (1 + np.cos(np.pi * np.minimum(epoch, 300) / 300)) / 2
    official = np.where(epoch < warm_up, 1e-6 + (rate - 1e-6) * epoch / warm_up, cosine)
    np.testing.assert_allclose(rates[:, 0], official, rtol=exact)
    np.testing.assert_allclose(rates[warm_up:, 0], official[warm_up:], rtol=2e-4)

    found = decays(runner)
    for key, parameter in runner.model.named_parameters():
        vector = parameter.ndim == 1 or key.endswith('.cls_token')
        assert found[key] == (0.0 if vector else decay), key
    if name.startswith('sgformer'):
        assert found['backbone.stem.pos_embed'] == 0.05
        assert found['backbone.stages.0.blocks.1.attn.merge.0.weight'] == 0.05
        assert found['backbone.stages.2.blocks.1.attn.merge.1.weight'] == 0.05, 'one number, 1 x 1'
        assert found['backbone.stem.convs.1.weight'] == 0.0, 'group norm'
    else:
        assert found['backbone.stages.2.cls_token'] == 0.0
        constant = {'backbone.stages.2.pos_embed', 'backbone.stages.0.features'}
        assert constant <= runner.model.state_dict().keys() - found.keys()


@pytest.mark.parametrize(
    ('variant', 'rate', 'decay'), [('7', 1e-3, 0.03), ('14', 5e-4, 0.05), ('19', 5e-4, 0.065)]
)
def test_t2t_sizes_differ_in_rate_and_decay_only(variant, rate, decay):
    cfg, other = load(f't2t_vit_{variant}_in1k'), load('t2t_vit_14_in1k')
    assert cfg.optim_wrapper.optimizer.lr == rate
    assert cfg.optim_wrapper.optimizer.weight_decay == decay
    assert cfg.param_scheduler[0].start_factor * rate == pytest.approx(1e-6)
    for config in (cfg, other):
        del config.model.backbone.arch, config.model.head.in_channels
        del config.optim_wrapper.optimizer.lr, config.optim_wrapper.optimizer.weight_decay
        del config.param_scheduler[0].start_factor
    assert cfg.to_dict() == other.to_dict()


def test_t2t_at_384_differs_in_the_size_only():
    cfg, other = load('t2t_vit_14_384_in1k').to_dict(), load('t2t_vit_14_in1k').to_dict()
    assert cfg['model']['backbone'].pop('img_size') == 384
    keys = {'RandomResizedCrop': 'scale', 'ResizeEdge': 'scale', 'CenterCrop': 'crop_size'}
    for config, sizes in ((cfg, (384, int(384 / 0.9), 384)), (other, (224, 248, 224))):
        wanted = dict(zip(keys, sizes, strict=True))
        for step in typed_dicts(config):
            if step['type'] in keys:
                assert step.pop(keys[step['type']]) == wanted[step['type']]
    assert cfg == other


@pytest.mark.parametrize(
    ('drop_paths', 'epochs', 'warm_up', 'batch', 'first', 'rate', 'last', 'decay'),
    [
        ({'tiny_in1k': 0.2, 'tiny_c24_in1k': 0.2}, 300, 20, 1024, 1e-6, 1e-3, 1e-5, 0.05),
        ({'base_in22k': 0.2}, 90, 5, 4096, 1e-6, 1e-3, 1e-5, 0.05),
        (
            {'tiny_ft-22k_in1k': 0.1, 'base_384_ft-22k_in1k': 0.2, 'base_384_ft-1k_in1k': 0.5},
            *(30, 5, 1024, 4e-8, 4e-5, 4e-7, 1e-8),
        ),
        ({'base_ft-simmim_in1k': 0.1}, 100, 20, 2048, 1e-6, 5e-3, 1e-6, 0.05),
    ],
    ids=['in1k', 'in22k', 'ft-22k', 'ft-simmim'],
)
def test_swin_imagenet_recipe_is_the_authors(
    drop_paths, epochs, warm_up, batch, first, rate, last, decay, tmp_path
):
    """config.py, lr_scheduler.py and configs/{swin,simmim} of their repository."""
    cfg, *others = (load(f'swin_{name}') for name in drop_paths)
    schedule = ('optim_wrapper', 'param_scheduler', 'train_cfg')
    for other in others:
        for key in (*schedule, 'auto_scale_lr', 'randomness'):
            assert other[key] == cfg[key]
        assert other.train_dataloader.batch_size == cfg.train_dataloader.batch_size
        assert other.model.train_cfg == cfg.model.train_cfg
    found = [config.model.backbone.drop_path_rate for config in (cfg, *others)]
    assert found == list(drop_paths.values())
    wrapper = cfg.optim_wrapper
    assert wrapper.type == 'AmpOptimWrapper'
    assert wrapper.clip_grad == dict(max_norm=5.0)
    assert wrapper.optimizer == dict(
        type='AdamW', lr=pytest.approx(rate), betas=(0.9, 0.999), weight_decay=decay
    )
    assert cfg.train_dataloader.batch_size == 128
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.randomness == dict(seed=0, diff_rank_seed=True)
    mixed = load('sgformer_small_in1k').model  # tested above
    assert cfg.model.train_cfg == mixed.train_cfg
    assert cfg.model.head.loss == mixed.head.loss

    # the schedule, on a small model; the rates of the layers are tested apart
    wrapper.pop('constructor', None)
    wrapper.paramwise_cfg.pop('layer_decay_rate', None)
    small = load('swin_tiny_in1k')
    small.update({key: cfg[key] for key in schedule})
    small.model.backbone.arch, small.model.head.in_channels = SMALL_SWIN, 64
    runner = full_length_runner(small, make('in1k', tmp_path / 'data', pictures=1), tmp_path)
    rates = learning_rates(runner)
    total, ramp = 2 * epochs, 2 * warm_up  # two iterations to an epoch here
    assert len(rates) == total
    assert rates[0] == pytest.approx(first)
    t = np.arange(total)
    cosine = last + (rate - last) * (1 + np.cos(np.pi * (t - ramp) / (total - ramp))) / 2
    np.testing.assert_allclose(rates[ramp:], cosine[ramp:], rtol=1e-6)
    # mmengine's ramp ends one iteration earlier
    np.testing.assert_allclose(rates[:ramp], first + (rate - first) * t[:ramp] / (ramp - 1))

    found = decays(runner)
    for key, parameter in runner.model.named_parameters():
        free = parameter.ndim == 1 or key.endswith('.relative_position_bias_table')
        assert found[key] == (0.0 if free else decay), key


def test_swin_after_simmim_decays_the_rate_by_layer():
    cfg = load('swin_base_ft-simmim_in1k')
    cfg.optim_wrapper.type = 'OptimWrapper'  # the other needs a GPU
    with torch.device('meta'):
        model = build_model(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    group_of = {id(parameter): group for group in groups for parameter in group['params']}
    for name, parameter in model.named_parameters():
        _, part, stage, kind, block, *_ = f'{name}...'.split('.')
        layer = {'stem': 0, 'fc': 25}.get(part)
        if part == 'stages':
            block = {'merge': 0, 'norm': 1}[kind] if kind != 'blocks' else int(block)
            layer = 1 + sum((2, 2, 18, 2)[: int(stage)]) + block
        rate, decay = (group_of[id(parameter)][key] for key in ('lr', 'weight_decay'))
        assert rate == pytest.approx(5e-3 * 0.8 ** (25 - layer)), name
        free = parameter.ndim == 1 or name.endswith('.relative_position_bias_table')
        assert decay == (0.0 if free else 0.05), name


@pytest.mark.parametrize(
    ('name', 'edge', 'size'),
    [
        ('swin_tiny_in1k', 256, 224),
        ('swin_tiny_c24_in1k', 292, 256),
        ('swin_base_384_ft-22k_in1k', None, 384),
        ('swin_base_in22k', 256, 224),
    ],
)
def test_swin_sees_pictures_of_its_size(name, edge, size, tmp_path):
    """Both lists of ImageNet-22K name pictures of one folder."""
    cfg = load(name)
    steps = {step.type: step for step in (*cfg.train_pipeline, *cfg.test_pipeline)}
    assert steps['RandomResizedCrop'].scale == size
    assert ('ResizeEdge' in steps) == (edge is not None)
    if edge:
        assert steps['ResizeEdge'].scale == edge == int(256 / 224 * size)
    assert steps['RandomErasing'].erase_prob == 0.25
    randaugment = steps['RandAugment']
    assert (randaugment.num_policies, randaugment.magnitude_level) == (2, 9)
    assert randaugment.magnitude_std == 0.5

    for split in ('train', 'val'):
        folder = 'train' if name.endswith('in22k') else split
        path = tmp_path / folder / 'n01440764' / f'{split}.JPEG'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((60, 90, 3), np.uint8))
        (tmp_path / 'meta').mkdir(exist_ok=True)
        (tmp_path / 'meta' / f'{split}.txt').write_text(f'n01440764/{split}.JPEG 7\n')
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            data = DATASETS.build(dict(loader.dataset, data_root=str(tmp_path)))
        assert len(data) == 1
        assert Path(data.get_data_info(0)['img_path']).stem == split
        assert data[0]['inputs'].shape == (3, size, size)
        assert data[0]['data_samples'].gt_label.item() == 7


def test_swin_for_384_starts_from_a_classifier_of_224(tmp_path):
    """Its tables are of another window, its head is kept."""
    cfg = load('swin_base_384_ft-1k_in1k')
    cfg.model.backbone.arch, cfg.model.head.in_channels = SMALL_SWIN, 64
    source = deepcopy(cfg)
    source.model.backbone.pop('window_size')
    source.model.pop('init_cfg')
    trained = build_model(source)
    official = CONVERTERS['SwinTransformer'][0]
    state = official.from_ours(trained.backbone.state_dict())
    state |= {f'head.{key}': value for key, value in trained.head.fc.state_dict().items()}
    torch.save({'model': state}, tmp_path / 'official.pth')

    cfg.model.init_cfg.checkpoint = str(tmp_path / 'official.pth')
    model = build_model(cfg)
    model.init_weights()
    ours, theirs = model.state_dict(), trained.state_dict()
    tables = {key for key in ours if key.endswith('.relative_position_bias_table')}
    assert {ours[key].shape[0] for key in tables} == {23**2}
    assert {theirs[key].shape[0] for key in tables} == {13**2}
    assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() - tables)
    middle = 'backbone.stages.0.blocks.0.attn.relative_position_bias_table'
    torch.testing.assert_close(ours[middle][23**2 // 2], theirs[middle][13**2 // 2])


@pytest.mark.parametrize(
    ('name', 'decay'), [('sgformer_small_in1k', 0.99992), ('t2t_vit_14_in1k', 0.99996)]
)
def test_average_decays_and_is_validated_as_the_authors(name, decay):
    cfg = load(name)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        hooks = [HOOKS.build(entry) for entry in cfg.custom_hooks]
    ema = next(hook for hook in hooks if hasattr(hook, 'ema_cfg'))
    assert len(hooks) == 2, 'and that of the shared runtime'
    model = torch.nn.Linear(1, 1, bias=False)
    ema.before_run(SimpleNamespace(model=model))
    for iteration, weight in enumerate((1.0, 0.0)):
        torch.nn.init.constant_(model.weight, weight)
        ema.after_train_iter(SimpleNamespace(iter=iteration), iteration)
    assert ema.ema_model.module.weight.item() == pytest.approx(decay, abs=1e-7)
    ema.before_val_epoch(None)
    assert model.weight.item() == pytest.approx(decay, abs=1e-7)


@pytest.mark.parametrize(
    ('key', 'batch', 'optimizer', 'iterations'),
    [
        ('upernet', 16, dict(lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01), 160000),
        ('fpn', 32, dict(lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-4), 80000),
    ],
)
def test_sgformer_ade20k_recipe(key, batch, optimizer, iterations, tmp_path):
    cfg = load(f'sgformer_small_{key}_ade20k')
    assert cfg.optim_wrapper.optimizer == dict(type='AdamW', **optimizer)
    assert 8 * cfg.train_dataloader.batch_size == cfg.auto_scale_lr.base_batch_size == batch
    steps = {step.type: step for step in cfg.train_pipeline}
    assert steps['RandomCrop'] == dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75)
    assert cfg.model.backbone.drop_path_rate == 0.1
    if key == 'upernet':
        assert cfg.model.decode_head.loss_decode.loss_weight == 1.0
        assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
        assert cfg.model.auxiliary_head.in_index == 2, 'the third stage'

    runner = full_length_runner(cfg, make('ade20k', tmp_path / 'data'), tmp_path)
    rates = learning_rates(runner)
    t = np.arange(iterations)
    if key == 'upernet':
        ramp = 1 - (1 - np.minimum(t / 1500, 1)) * (1 - 1e-6)
        official = 6e-5 * (1 - t / iterations) * ramp
    else:
        official = 2e-4 * (1 - t / iterations) ** 0.9
    np.testing.assert_allclose(rates, official, rtol=0, atol=1e-4 * optimizer['lr'])

    found = decays(runner)
    assert found['backbone.stages.0.blocks.0.attn.qkv.weight'] == optimizer['weight_decay']
    if key == 'upernet':
        norms = [
            name
            for name, module in runner.model.named_modules()
            if isinstance(module, torch.nn.GroupNorm | torch.nn.LayerNorm)
        ]
        assert {'backbone.stem.convs.1', 'backbone.stages.3.norm'} <= set(norms)
        assert {found[f'{name}.{leaf}'] for name in norms for leaf in ('weight', 'bias')} == {0.0}
        assert found['backbone.stem.pos_embed'] == 0.0
    else:
        assert set(found.values()) == {optimizer['weight_decay']}


def test_t2t_ade20k_recipe_is_that_of_other_transformers(tmp_path):
    cfg, other = load('t2t_vit_14_upernet_ade20k'), load('sgformer_small_upernet_ade20k')
    assert cfg.model.auxiliary_head.in_index == 2, 'stride 16'
    for config in (cfg, other):  # what the two recipes are allowed to differ in
        for part in ('backbone', 'decode_head', 'auxiliary_head'):
            for key in ('type', 'arch', 'in_channels', 'in_index'):
                config.model[part].pop(key, None)
        config.optim_wrapper.paramwise_cfg.pop('custom_keys')
    assert cfg.to_dict() == other.to_dict()

    data = make('ade20k', tmp_path / 'data')
    runner = full_length_runner(load('t2t_vit_14_upernet_ade20k'), data, tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    found = decays(runner)
    for norm in ('stages.0.norm1', 'stages.1.norm2', 'stages.2.blocks.13.norm1', 'stages.2.norm'):
        assert found[f'backbone.{norm}.weight'] == found[f'backbone.{norm}.bias'] == 0.0
    assert found['backbone.stages.2.cls_token'] == 0.0
    assert found['backbone.stages.2.blocks.0.attn.qkv.weight'] == 0.01


def test_swin_ade20k_recipe_is_the_authors(tmp_path):
    """upernet_swin_tiny_patch4_window7_512x512_160k_ade20k.py of their repository."""
    cfg, other = load('swin_tiny_upernet_ade20k'), load('sgformer_small_upernet_ade20k')
    for key in ('param_scheduler', 'train_cfg', 'train_dataloader', 'auto_scale_lr'):
        assert cfg[key] == other[key], 'which are tested in numbers'
    assert cfg.optim_wrapper.optimizer == other.optim_wrapper.optimizer
    assert cfg.model.backbone.drop_path_rate == 0.3
    steps = [*typed_dicts(cfg.test_pipeline), *typed_dicts(cfg.tta_pipeline)]
    assert not [step for step in steps if step['type'] == 'ResizeToMultiple']
    assert cfg.tta_pipeline[1].transforms[0] == other.tta_pipeline[1].transforms[0]

    runner = full_length_runner(cfg, make('ade20k', tmp_path / 'data'), tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    for name, decay in decays(runner).items():
        free = 'norm' in name or name.endswith('.relative_position_bias_table')
        assert decay == (0.0 if free else 0.01), name
        assert not free or name.startswith('backbone.')


def test_option_of_the_docstring_changes_the_visualizer():
    cfg = load('afformer_tiny_ade20k')
    cfg.merge_from_dict({'visualizer.vis_backends.0.type': 'TensorboardVisBackend'})
    assert cfg.visualizer.vis_backends == [dict(type='TensorboardVisBackend')]


METRICS = {'mmpretrain': 'accuracy/top1', 'mmseg': 'mIoU', 'mmdet': 'coco/bbox_mAP'}


@pytest.mark.slow
@pytest.mark.parametrize('name', RUNS)
def test_trains_validates_tests_and_augments_at_test_time(name, tmp_path):
    data = make(data_of(name), tmp_path / 'data', pictures=2)
    cfg = fit(load(name), data)
    if 'mgff' in name:
        shrink(cfg)
    elif name in DETECTORS:
        shrink_detector(cfg)
    else:
        shrink_plain(cfg)
    metric = METRICS[cfg.default_scope] if name not in HYPERSPECTRAL else 'hsi/OA'
    runner = make_runner(deepcopy(cfg), tmp_path, 'train')
    model = runner.train()
    scalars = runner.message_hub.log_scalars
    assert runner.iter == 2
    assert np.isfinite(scalars['train/loss'].current())
    if cfg.val_dataloader:
        assert 0 <= scalars[f'val/{metric}'].current() <= 100
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # every parameter that has a gradient has a momentum, even at a rate of 1e-9
    momenta = runner.optim_wrapper.optimizer.state
    key = 'momentum_buffer' if cfg.optim_wrapper.optimizer.type == 'SGD' else 'exp_avg'
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(
        p.startswith('localizer.') for p in dict(model.named_parameters()) if p not in parameters
    )
    still = [name for name, p in parameters.items() if not momenta[p][key].any()]
    assert not still or cfg.model.backbone.type == 'ResNet', 'whose blocks start switched off'

    cfg.load_from = next((tmp_path / 'train').glob('*_[12].pth')).as_posix()
    assert 0 <= make_runner(deepcopy(cfg), tmp_path, 'test').test()[metric] <= 100
    if cfg.model.type == 'MaskRCNN':
        with pytest.raises(UserError, match='--tta'):
            set_tta(cfg, name)
        return
    set_tta(cfg, name)
    assert 0 <= make_runner(cfg, tmp_path, 'tta').test()[metric] <= 100


def test_at_test_time_a_detector_sees_each_picture_mirrored_too():
    cfg = load('swin_tiny_retinanet_1x_coco')
    plain = cfg.test_pipeline
    set_tta(cfg, 'config.py')
    *steps, augment = cfg.test_dataloader.dataset.pipeline
    assert steps == plain[:-1]
    flips, pack = augment.transforms
    assert flips == [dict(type='RandomFlip', prob=prob) for prob in (1.0, 0.0)]
    assert [step.type for step in pack] == ['PackDetInputs']


SEGMENT = """
import sys
import numpy as np
from mmseg.apis import inference_model, init_model
assert 'mmvit_plugins' not in sys.modules
for config in sys.argv[1:]:
    model = init_model(config, None, device='cpu')
    labels = inference_model(model, np.zeros((32, 32, 3), np.uint8)).pred_sem_seg.data
    assert labels.shape == (1, 32, 32), labels.shape
    assert 0 <= labels.min() and labels.max() < model.decode_head.num_classes
    ours = type(model.backbone).__module__.startswith('mmvit_plugins.')
    names = ('afformer_', 'sgformer_', 'swin_', 't2t_vit_')
    assert ours == config.rpartition('/')[2].startswith(names), type(model.backbone)
"""
CLASSIFY = """
import sys
import numpy as np
import torch
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer, get_model
assert 'mmvit_plugins' not in sys.modules
for config in sys.argv[1:]:
    if 'two-stage_' in config:  # as a user without the localizer's file has to
        cfg = Config.fromfile(config)
        (cfg.model.localizer.get('vit') or {}).pop('init_cfg', None)
        cfg.dump('two-stage.py')
        config = 'two-stage.py'
    model = get_model(config, device='cpu')
    if 'lsga_' in config:
        window = torch.zeros(1, model.backbone.in_channels, *model.backbone.window_size)
        assert model(window).shape == (1, model.head.num_classes)
        continue
    inferencer = ImageClassificationInferencer(config, pretrained=False, device='cpu')
    result = inferencer(np.zeros((32, 32, 3), np.uint8))[0]
    assert result['pred_scores'].shape == (model.head.num_classes,)
    known = (1000, 200, 196, 37)  # whose names need no weights
    assert ('pred_class' in result) == (model.head.num_classes in known)
    ours = type(model.backbone).__module__.startswith('mmvit_plugins.')
    foreign = ('mmpretrain_', 'resnet50_', 'mgff_resnet50_', 'vit-tiny_')
    assert ours != config.rpartition('/')[2].startswith(foreign), type(model.backbone)
"""


def one_of_each_kind(names: list[str]) -> list[str]:
    """Take configs until each type of model, backbone, neck and head was there once."""
    seen, taken = set(), []
    for name in names:
        parts = {('model', READ[name].model.type)}
        for key in ('backbone', 'neck', 'head', 'decode_head', 'localizer'):
            part = READ[name].model.get(key)
            for entry in part if isinstance(part, list) else [part]:
                parts.add((key, entry and entry.type))
        if parts - seen:
            seen |= parts
            taken.append(name)
    return taken


@pytest.mark.slow
@pytest.mark.parametrize(
    ('script', 'scope'),
    [(SEGMENT, 'mmseg'), (CLASSIFY, 'mmpretrain')],
    ids=['mmseg', 'mmpretrain'],
)
def test_stock_inference_needs_no_import_by_hand(script, scope, tmp_path):
    """Every config names the package alike, which is tested where they are built."""
    names = one_of_each_kind([name for name in RUNS if SCOPES[name] == scope])
    paths = [str(CONFIGS[name]) for name in names]
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_STARTUP + script, *paths],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
