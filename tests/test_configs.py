"""All configs: they build, agree with themselves, state the authors' recipes, and run."""

import ast
import inspect
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import mmengine.registry
import numpy as np
import pytest
import torch
from miniature import fit, make
from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import BATCH_AUGMENTS

from mmvit_plugins.analysis import build_model
from mmvit_plugins.registry import HOSTS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    path.stem if path.parent.name == 'afformer' else f'{path.parent.name}/{path.stem}': path
    for path in sorted((ROOT / 'configs').rglob('*.py'))
    if '_base_' not in path.parts
}
SETS = ('ade20k', 'cityscapes', 'coco-stuff10k', 'in1k')
VARIANTS = ('tiny', 'small', 'base')
TRAINABLE = [name for name, path in CONFIGS.items() if 'train_dataloader' in Config.fromfile(path)]
SEGMENTORS = [name for name in TRAINABLE if not name.endswith('_in1k')]
# trained on miniatures; the other variants differ from these in ``arch`` only
RUNS = (
    *(f'afformer_tiny_{key}' for key in SETS),
    'afformer_tiny_camvid',
    'afformer_tiny_digits',
    'segformer_mit-b0_camvid',
)
REGISTRIES = [
    value
    for value in vars(mmengine.registry).values()
    if isinstance(value, mmengine.registry.Registry)
]
REGISTRIES.append(BATCH_AUGMENTS)
# read by the builders before the class sees the arguments, or passed on to Resize by RandomResize
PASSED_ON = {
    'constructor',
    'convert_to_iter_based',
    'keep_ratio',
    'paramwise_cfg',
    'requires_grad',
}
# what is neither mmengine's runner's nor a tool's, but names a part of the config for reuse
NAMED_PARTS = {
    'bgr_mean',
    'bgr_std',
    'crop_size',
    'data_root',
    'dataset_type',
    'ignore_index',
    'metainfo',
    'test_pipeline',
    'train_pipeline',
}


def load(name: str) -> Config:
    return Config.fromfile(CONFIGS[name])


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
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    rates = []
    for _ in range(runner.max_iters):
        rates.append(runner.optim_wrapper.param_groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    return np.array(rates)


def test_every_promised_config_exists():
    promised = {f'afformer_{arch}_{key}' for arch in VARIANTS for key in SETS}
    assert promised | set(RUNS) <= set(CONFIGS)
    assert (ROOT / 'configs/afformer/afformer_tiny_ade20k.py').is_file()


@pytest.mark.parametrize('name', CONFIGS)
def test_builds_in_its_host_with_channels_that_fit(name):
    cfg = load(name)
    assert cfg.default_scope in HOSTS
    assert cfg.custom_imports == dict(imports=['mmvit_plugins'], allow_failed_imports=False), (
        'stock init_model(config) relies on it'
    )
    model = build_model(cfg)
    with torch.no_grad():
        channels = [stage.shape[1] for stage in model.backbone(torch.zeros(1, 3, 64, 64))]
    if cfg.model.backbone.type.startswith('mmvit_plugins.'):
        assert list(model.backbone.out_channels) == channels
    if cfg.default_scope == 'mmpretrain':
        assert model.head.in_channels == channels[-1]
    else:
        head = model.decode_head
        wanted = channels[head.in_index] if isinstance(head.in_index, int) else channels
        assert head.in_channels == wanted
        assert cfg.model.test_cfg.mode == 'whole'


@pytest.mark.parametrize('name', CONFIGS)
def test_no_argument_is_ignored(name):
    cfg = load(name)
    if name in TRAINABLE:
        read = set(inspect.signature(Runner.__init__).parameters) | {'sync_bn', 'custom_imports'}
        assert set(cfg) <= read | {'tta_model', 'tta_pipeline'} | NAMED_PARTS
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        for entry in typed_dicts(cfg.to_dict()):
            unknown = set(entry) - {'type'} - accepted_arguments(find_class(entry['type']))
            assert unknown <= PASSED_ON, f'{entry["type"]} does not know {unknown}'


@pytest.mark.parametrize('name', TRAINABLE)
def test_docstring_opens_with_the_command(name):
    """The cost that follows is checked with the metafiles."""
    doc = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    assert re.search(rf'Run: .*(configs/afformer/{name}\.py|make demo)', doc)


@pytest.mark.parametrize('name', SEGMENTORS)
def test_classes_sizes_and_ignored_label_agree(name):
    cfg = load(name)
    model, steps = cfg.model, {step.type: step for step in cfg.train_pipeline}
    with DefaultScope.overwrite_default_scope('mmseg'):
        loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
        sets = [DATASETS.build(dict(loader.dataset, lazy_init=True)) for loader in loaders]
    check = steps['mmvit_plugins.CheckLabels']
    classes = model.decode_head.num_classes
    assert {classes, check.num_classes} == {len(data.metainfo['classes']) for data in sets}
    assert {len(data.metainfo['palette']) for data in sets} == {classes}

    ignored = {
        model.data_preprocessor.seg_pad_val,
        model.decode_head.get('ignore_index', 255),
        check.get('ignore_index', 255),
        steps['RandomCrop'].get('ignore_index', 255),
        cfg.val_evaluator.get('ignore_index', 255),
        cfg.test_evaluator.get('ignore_index', 255),
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


@pytest.mark.parametrize('key', SETS)
def test_variants_differ_in_arch_only(key):
    """So that one variant of each data set is enough for the tests that run."""
    cfgs = [load(f'afformer_{arch}_{key}').to_dict() for arch in VARIANTS]
    assert [cfg['model']['backbone'].pop('arch') for cfg in cfgs] == list(VARIANTS)
    assert cfgs[0] == cfgs[1] == cfgs[2]


def test_camvid_comparison_differs_in_the_model_only():
    cfgs = [load(f'{model}_camvid').to_dict() for model in ('afformer_tiny', 'segformer_mit-b0')]
    models = [cfg.pop('model') for cfg in cfgs]
    assert cfgs[0] == cfgs[1]
    for model in models:
        loss = model.pop('backbone'), model.pop('decode_head')['loss_decode']
        assert loss[1] == dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)
    assert models[0] == models[1]
    assert cfgs[0]['test_dataloader']['dataset']['data_prefix']['img_path'] == 'images/test'
    assert cfgs[0]['val_dataloader']['dataset']['data_prefix']['img_path'] == 'images/val'


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

    decay = {
        id(parameter): group['weight_decay']
        for group in runner.optim_wrapper.param_groups
        for parameter in group['params']
    }
    for name, parameter in runner.model.named_parameters():
        assert decay[id(parameter)] == (0.0 if parameter.ndim == 1 else 0.05), name


def test_option_of_the_docstring_changes_the_visualizer():
    cfg = load('afformer_tiny_ade20k')
    cfg.merge_from_dict({'visualizer.vis_backends.0.type': 'TensorboardVisBackend'})
    assert cfg.visualizer.vis_backends == [dict(type='TensorboardVisBackend')]


@pytest.mark.parametrize('name', RUNS)
def test_trains_validates_tests_and_augments_at_test_time(name, tmp_path):
    data = make(name.rpartition('_')[2], tmp_path / 'data', pictures=2)
    cfg = fit(load(name), data)
    metric = 'accuracy/top1' if cfg.default_scope == 'mmpretrain' else 'mIoU'
    runner = make_runner(deepcopy(cfg), tmp_path, 'train')
    model = runner.train()
    scalars = runner.message_hub.log_scalars
    assert runner.iter == 2
    assert np.isfinite(scalars['train/loss'].current())
    assert 0 <= scalars[f'val/{metric}'].current() <= 100
    assert all(torch.isfinite(p).all() for p in model.parameters())
    # AdamW moves every parameter that has a gradient, even at a rate of 1e-9
    momenta = runner.optim_wrapper.optimizer.state
    assert all(momenta[p]['exp_avg'].abs().sum() > 0 for p in model.parameters())

    cfg.load_from = next((tmp_path / 'train').glob('*_[12].pth')).as_posix()
    assert 0 <= make_runner(deepcopy(cfg), tmp_path, 'test').test()[metric] <= 100
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    assert 0 <= make_runner(cfg, tmp_path, 'tta').test()[metric] <= 100


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
    assert ours == ('afformer_' in config), type(model.backbone)
"""
CLASSIFY = """
import sys
import numpy as np
from mmpretrain import ImageClassificationInferencer, get_model
assert 'mmvit_plugins' not in sys.modules
for config in sys.argv[1:]:
    model = get_model(config, device='cpu')
    inferencer = ImageClassificationInferencer(config, pretrained=False, device='cpu')
    result = inferencer(np.zeros((32, 32, 3), np.uint8))[0]
    assert result['pred_scores'].shape == (1000,) and result['pred_class']
    ours = type(model.backbone).__module__.startswith('mmvit_plugins.')
    assert ours == ('afformer_' in config), type(model.backbone)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('script', 'names'),
    [(SEGMENT, SEGMENTORS), (CLASSIFY, [name for name in TRAINABLE if name not in SEGMENTORS])],
    ids=['mmseg', 'mmpretrain'],
)
def test_stock_inference_needs_no_import_by_hand(script, names, tmp_path):
    paths = [str(CONFIGS[name]) for name in names]
    done = subprocess.run(
        [sys.executable, '-c', script, *paths],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
