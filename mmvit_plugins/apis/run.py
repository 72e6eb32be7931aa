"""From the command line to mmengine's runner: all hosts, CPU or GPU, one process or many."""

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dataset import BaseDataset
from mmengine.dist import init_dist, is_main_process
from mmengine.logging import print_log
from mmengine.registry import METRICS, RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..checkpoint import read_checkpoint
from ..config import load_config
from ..datasets.checks import check_layouts, empty_dataset
from ..engine.storage import find_checkpoint
from ..errors import UserError

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# test-time augmentation where the config has none, as the hosts' own tools set it
FLIPPED = {
    'mmpretrain': {'type': 'AverageClsScoreTTA'},
    'mmdet': {
        'type': 'DetTTAModel',
        'tta_cfg': {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100},
    },
}
VIEW_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing share; names and meanings are the hosts'."""
    parser.add_argument('--work-dir', help='folder of logs and checkpoints; ./work_dirs/CONFIG')
    parser.add_argument('--amp', action='store_true', help='mixed precision: bfloat16 on a CPU')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='no pinned memory in the data loaders'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        help='settings that replace those of the config: key=value; lists as key="[a,b]", without '
        'white space',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def train(args: argparse.Namespace) -> None:
    """Train as ``tools/train.py`` was told.

    Raises:
        UserError: What cannot work, before anything is built where possible.
        DataError: Files of the data are missing, likewise.
    """
    cfg = prepare(args)
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(
            f'{args.config} has no train_dataloader and optim_wrapper: nothing to train'
        )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    for loader in filter(None, (cfg.train_dataloader, cfg.get('val_dataloader'))):
        check_layouts(loader)
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(
                f'{args.config} has no auto_scale_lr: add auto_scale_lr = dict(base_batch_size=N), '
                'N being the total batch size that its learning rate was chosen for'
            )
        cfg.auto_scale_lr.enable = True
    _set_amp(cfg, args.amp)
    _set_start(cfg, args.resume)
    runner = _build_runner(cfg)
    if cfg.optim_wrapper.get('type') == 'CPUAmpOptimWrapper':
        keep_operators_in_float32(runner.model)
    with _explained_data():
        runner.train()
    _finish(runner)


def test(args: argparse.Namespace) -> None:
    """Evaluate as ``tools/test.py`` was told.

    Raises:
        UserError: What cannot work, before anything is built where possible.
        DataError: Files of the data are missing, likewise.
    """
    if args.out_item and not args.out:
        raise UserError('--out-item says what to write, --out FILE says where: give both')
    cfg = prepare(args)
    _check_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if cfg.get('test_cfg') is None or cfg.get('test_dataloader') is None:
        raise UserError(f'{args.config} has no test_dataloader and test_cfg: nothing to test')
    metrics = filter(None, _as_list(cfg.get('test_evaluator')))
    # What is only written for others to score needs no annotations, as on COCO's test set.
    check_layouts(cfg.test_dataloader, not any(metric.get('format_only') for metric in metrics))
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.out and cfg.get('default_scope') == 'mmdet' and args.out_item != 'metrics':
        _check_dump(args.out)
    if args.show or args.show_dir:
        _draw_results(cfg, args)
    if args.tta:
        _set_tta(cfg, args.config)
    labels_out = args.out and cfg.get('default_scope') == 'mmseg' and not args.out_item
    if labels_out:  # mmseg's metric writes the predicted label maps into a folder
        for metric in _as_list(cfg.test_evaluator):
            metric.output_dir = args.out
    runner = _build_runner(cfg)
    if args.amp and not torch.cuda.is_available():
        keep_operators_in_float32(runner.model)
    if args.out and not labels_out and args.out_item != 'metrics':
        # mmdetection's own packs masks, which would otherwise fill gigabytes
        dump = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        metric = METRICS.build({'type': dump, 'out_file_path': args.out})
        runner.test_evaluator.metrics.append(metric)
    with _explained_data():
        metrics = runner.test()
    if args.out_item == 'metrics' and is_main_process():
        mmengine.dump(metrics, args.out)
    _finish(runner)


def prepare(args: argparse.Namespace) -> Config:
    """Load a config and fit it to the machine and the way the processes were started.

    Raises:
        UserError: The config does not exist, or the installation cannot run it.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    if args.work_dir or cfg.get('work_dir') is None:
        cfg.work_dir = args.work_dir or f'./work_dirs/{Path(args.config).stem}'
    cfg.launcher = args.launcher
    if cfg.launcher != 'none':
        _start_processes(cfg)
    _set_dataloaders(cfg, args)
    return cfg


def _start_processes(cfg: Config) -> None:
    """Open the process group, which mmengine's runner then finds open."""
    env = cfg.get('env_cfg') or {}
    # In mmengine's order: the method first, as init_dist would set one by itself.
    set_multi_processing(**env.get('mp_cfg', {}), distributed=True)
    options = {'backend': 'nccl', **env.get('dist_cfg', {})}
    if torch.cuda.is_available():
        init_dist(cfg.launcher, **options)
        return
    set_device = torch.cuda.set_device
    # init_dist reads every launcher's variables right but always chooses a CUDA device.
    torch.cuda.set_device = lambda device: None
    try:
        init_dist(cfg.launcher, **{**options, 'backend': 'gloo'})
    finally:
        torch.cuda.set_device = set_device
    cfg.pop('sync_bn', None)
    wrapper = cfg.get('model_wrapper_cfg') or {
        'find_unused_parameters': cfg.get('find_unused_parameters', False)
    }
    if wrapper.get('type', 'MMDistributedDataParallel') == 'MMDistributedDataParallel':
        wrapper = {**wrapper, 'type': 'CPUDistributedDataParallel'}
    cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}


def _finish(runner: Runner) -> None:
    """Close what the run opened, and end a process that used gloo, its work being done.

    On a CPU some exits were aborted ("terminate called without an active exception") while the
    interpreter was torn down, with the group closed or not, which torchrun takes for a failed run;
    so that part is left out.
    """
    runner.visualizer.close()
    if not torch.distributed.is_initialized():
        return
    backend = torch.distributed.get_backend()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if backend == 'gloo':
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _set_dataloaders(cfg: Config, args: argparse.Namespace) -> None:
    """Set what mmpretrain's own tools set for its configs, and what machine or user forbid."""
    for name in DATALOADERS:
        loader = cfg.get(name)
        if loader is None:
            continue
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', {'type': 'default_collate'})
            loader.setdefault('pin_memory', True)
            loader.setdefault('persistent_workers', True)
        if args.no_pin_memory or not torch.cuda.is_available():
            loader.pin_memory = False
        # torch refuses workers that persist where there are none, as when debugging
        if getattr(args, 'no_persistent_workers', False) or not loader.get('num_workers'):
            loader.persistent_workers = False


def _set_amp(cfg: Config, wanted: bool) -> None:
    """Turn mixed precision on, and choose the wrapper that the machine has."""
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if wanted and kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise UserError(f'--amp needs optim_wrapper.type OptimWrapper, the config has {kind}')
    if not wanted and kind != 'AmpOptimWrapper':
        return
    if torch.cuda.is_available():
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    else:
        print_log('mixed precision on a CPU: bfloat16, no loss scaling', 'current')
        wrapper.type = 'CPUAmpOptimWrapper'
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            wrapper.pop(key, None)


def keep_operators_in_float32(model: nn.Module) -> None:
    """Let a detector work while a CPU computes in bfloat16, which has too few digits for boxes.

    The modules of mmcv's operators, which do not know it where they are compiled, and mmdetection's
    that collect what RoIAlign gives, get float32. NMS is no module: it, and the losses, get what
    the heads of a detector put out, which becomes float32. Everything else is left to autocast.
    """
    for module in model.modules():
        place = type(module).__module__
        if place.startswith(('mmcv.ops', 'mmdet.models.roi_heads.roi_extractors')):
            module.register_forward_pre_hook(lambda _, inputs: _to_float32(inputs))
        elif place.startswith(('mmdet.models.dense_heads', 'mmdet.models.roi_heads')):
            module.register_forward_hook(lambda _, __, outputs: _to_float32(outputs))


def _to_float32(values: Any) -> Any:
    """Cast the bfloat16 tensors in nested lists, tuples and dicts."""
    half = torch.bfloat16
    return tree_map(lambda x: x.float() if isinstance(x, Tensor) and x.dtype == half else x, values)


def _set_start(cfg: Config, resume: str | None) -> None:
    """Decide what the training starts from; every file is read before anything is built."""
    if resume == 'auto' or (resume is None and cfg.get('resume') and not cfg.get('load_from')):
        found = find_checkpoint(cfg.work_dir)
        if found is None:
            print_log(
                f'no checkpoint in {cfg.work_dir}: training starts from the beginning', 'current'
            )
            cfg.resume = False
        else:
            print_log(f'resuming from {found}', 'current')
            cfg.resume, cfg.load_from = True, found
    elif resume is not None:
        _check_checkpoint(resume)
        cfg.resume, cfg.load_from = True, resume
    elif cfg.get('load_from'):
        _check_checkpoint(cfg.load_from)


def _check_checkpoint(path: str) -> None:
    """Read a local file, to say now and not after minutes that it is no checkpoint."""
    if '://' not in path:
        read_checkpoint(path)


def _draw_results(cfg: Config, args: argparse.Namespace) -> None:
    """Switch on the host's visualization hook, whose arguments differ between hosts."""
    scope = cfg.get('default_scope')
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if 'window_size' in cfg.test_dataloader.dataset:
        raise UserError(
            '--show and --show-dir draw pictures, which windows of a scene are not: draw its map '
            'with tools/map_scene.py'
        )
    if hook is None:
        names = {'mmpretrain': 'VisualizationHook', 'mmdet': 'DetVisualizationHook'}
        raise UserError(
            '--show and --show-dir need default_hooks.visualization, as '
            f"dict(type='{names.get(scope, 'SegVisualizationHook')}')"
        )
    if scope == 'mmpretrain' and args.tta:
        raise UserError("mmpretrain's hook cannot draw with --tta: leave out --show and --show-dir")
    hook.update(show=args.show, wait_time=args.wait_time)
    if scope == 'mmdet':
        if args.interval != 1:
            raise UserError(
                f"--interval {args.interval}: mmdetection's hook draws every picture of a test, "
                'leave it out; tools/infer.py draws the pictures of a folder'
            )
        cfg.setdefault('visualizer', {'type': 'DetLocalVisualizer'})
        # the hook puts what is not absolute below the folder of the batch before
        folder = args.show_dir and str(Path(args.show_dir).resolve())
        hook.update(draw=True, test_out_dir=folder)
        return
    hook.interval = args.interval
    if scope == 'mmpretrain':
        hook.update(enable=True, out_dir=args.show_dir)
        cfg.setdefault('visualizer', {'type': 'UniversalVisualizer'})
        return
    hook.draw = True
    if args.show_dir:
        cfg.setdefault('visualizer', {'type': 'SegLocalVisualizer'})
        cfg.visualizer.setdefault('vis_backends', [{'type': 'LocalVisBackend'}])
        cfg.visualizer.save_dir = args.show_dir


def _set_tta(cfg: Config, path: str) -> None:
    """Put the model into the config's test-time augmentation.

    Where the config has none, a classifier and a detector see each picture twice, once mirrored, as
    their hosts' own tools do.
    """
    scope = cfg.get('default_scope')
    dataset = _innermost(cfg.test_dataloader.dataset)
    if scope == 'mmdet' and (cfg.model.get('roi_head') or cfg.model).get('mask_head'):
        raise UserError(
            '--tta: mmdetection merges boxes, not masks, and this model predicts masks: leave it '
            'out, or take the config of a detector without mask_head'
        )
    if scope in FLIPPED:
        cfg.setdefault('tta_model', deepcopy(FLIPPED[scope]))
        if 'tta_pipeline' not in cfg:
            *steps, pack = deepcopy(dataset.pipeline)
            if scope == 'mmdet':  # what merging needs to know of a view
                pack = {'type': 'PackDetInputs', 'meta_keys': VIEW_KEYS}
            flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (1.0, 0.0)]
            cfg.tta_pipeline = [*steps, {'type': 'TestTimeAug', 'transforms': [flips, [pack]]}]
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise UserError(f'--tta needs tta_model and tta_pipeline, which {path} does not have')
    dataset.pipeline = deepcopy(cfg.tta_pipeline)
    # The hook would look for its averages under the wrapped model's names; a checkpoint's
    # ``state_dict`` holds the averaged weights already.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if str(hook.type).rpartition('.')[2] != 'EMAHook']
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _innermost(dataset: ConfigDict) -> ConfigDict:
    """Return the data set inside of those that repeat or filter it."""
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _check_dump(path: str) -> None:
    """Refuse a name that mmdetection would refuse when all is built.

    Raises:
        UserError: It does not end as a pickle file.
    """
    if not path.endswith(('.pkl', '.pickle')):
        raise UserError(
            f'--out {path}: predictions of a detector go into one file, named .pkl or .pickle; '
            'with --out-item metrics the scores go into a .json file'
        )


def _as_list(value: list | dict) -> list:
    return value if isinstance(value, list) else [value]


def _build_runner(cfg: Config) -> Runner:
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


@contextmanager
def _explained_data() -> Iterator[None]:
    """Say which data set is empty where a host fails in its own words.

    mmengine cannot join the parts of an empty list, mmpretrain finds 0 files. That happens while
    the loop is built, before any hook; the data set is found on the traceback, so that it may be
    of any host and inside of others.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        step = 'full_init' if str(error).startswith('Found 0 files') else '_serialize_data'
        place = error.__traceback__
        while place:
            dataset = place.tb_frame.f_locals.get('self')
            if place.tb_frame.f_code.co_name == step and isinstance(dataset, BaseDataset):
                if not dataset.data_list:
                    raise empty_dataset(dataset) from error
                break
            place = place.tb_next
        raise
