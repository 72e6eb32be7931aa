"""From the command line to mmengine's runner: all hosts, CPU or GPU, one process or many."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_main_process
from mmengine.logging import print_log
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..checkpoint import read_checkpoint
from ..config import TEST, TRAIN, VALIDATE, check_run, check_training, explained, load_config
from ..datasets.checks import check_layouts
from ..datasets.coco_checks import check_scored
from ..engine.hyperspectral import RESULTS
from ..engine.resume import check_resumable
from ..engine.storage import find_checkpoint
from ..errors import UserError
from .console import without_idle_warnings
from .launch import check_launcher, end_failing_workers, explain_launch
from .runner import build_runner
from .test_options import check_dump, draw_results, dump_to, set_tta, write_dump, write_whole_maps
from .work_dir import DATALOADERS, claim_work_dir, files_in


def train(args: argparse.Namespace) -> None:
    """Train as ``tools/train.py`` was told.

    Raises:
        UserError: What cannot work, before anything is built where possible.
        DataError: Files of the data are missing, likewise.
    """
    cfg = prepare(args, TRAIN if args.no_validate else (*TRAIN, *VALIDATE))
    if not cfg.get('train_dataloader') or not cfg.get('optim_wrapper'):
        raise UserError(
            f'{args.config} has no train_dataloader and optim_wrapper: nothing to train'
        )
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise UserError(
                f'{args.config} has no auto_scale_lr: add auto_scale_lr = dict(base_batch_size=N), '
                'N being the total batch size that its learning rate was chosen for'
            )
        cfg.auto_scale_lr.enable = True
    check_training(cfg)
    for loader in filter(None, (cfg.train_dataloader, cfg.get('val_dataloader'))):
        check_layouts(loader)
    if cfg.get('val_dataloader'):
        check_scored(cfg.val_dataloader, _metrics(cfg.val_evaluator))
    _set_amp(cfg, args.amp)
    claim_work_dir(cfg, anew=args.resume is None and not cfg.get('resume'), lock=True)
    _set_start(cfg, args.resume)
    with without_idle_warnings(), explained(cfg):
        runner = build_runner(cfg, args.verbose)
        if cfg.optim_wrapper.get('type') == 'CPUAmpOptimWrapper':
            keep_operators_in_float32(runner.model)
        with runner.explaining():
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
    cfg = prepare(args, TEST)
    read_checkpoint(args.checkpoint)  # to say now, not after minutes, that it is none
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if cfg.get('test_cfg') is None or cfg.get('test_dataloader') is None:
        raise UserError(f'{args.config} has no test_dataloader and test_cfg: nothing to test')
    check_run(cfg, 'test')
    metrics = _metrics(cfg.get('test_evaluator'))
    # What is only written for others to score needs no annotations, as on COCO's test set.
    scored = not any(metric.get('format_only') for metric in metrics)
    check_layouts(cfg.test_dataloader, scored)
    if scored:
        check_scored(cfg.test_dataloader, metrics)
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.show or args.show_dir:
        draw_results(cfg, args)
    if args.tta:
        set_tta(cfg, args.config)
    labels_out = args.out and cfg.get('default_scope') == 'mmseg' and not args.out_item
    if args.out and not labels_out:
        check_dump(args.out, args.out_item)
    if labels_out:  # mmseg's metric writes the predicted label maps into a folder
        for metric in _as_list(cfg.test_evaluator):
            metric.output_dir = args.out
    _claim_results(cfg, args, bool(labels_out))
    with without_idle_warnings(), explained(cfg):
        runner = build_runner(cfg, args.verbose, testing=True)
        if args.amp and not torch.cuda.is_available():
            keep_operators_in_float32(runner.model)
        for metric in runner.test_evaluator.metrics if labels_out else ():
            if type(metric).__name__ == 'IoUMetric':
                write_whole_maps(metric)
        if args.out and not labels_out and args.out_item != 'metrics':
            # mmdetection's own packs masks, which would otherwise fill gigabytes
            dump = 'mmdet.DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
            metric = METRICS.build({'type': dump, 'out_file_path': args.out})
            metric.compute_metrics = dump_to(args.out)
            runner.test_evaluator.metrics.append(metric)
        with runner.explaining():
            metrics = runner.test()
    if args.out_item == 'metrics' and is_main_process():
        write_dump(metrics, args.out)
    _finish(runner)


def _claim_results(cfg: Config, args: argparse.Namespace, labels_out: bool) -> None:
    """Refuse results of a test where they would be a loss."""
    folders = [Path(folder) for folder in (labels_out and args.out, args.show_dir) if folder]
    files = [file for folder in folders for file in files_in(folder)]
    files += [args.out] if args.out and not labels_out else []
    hooks = [str(hook.get('type')).rpartition('.')[2] for hook in cfg.get('custom_hooks') or []]
    if 'HyperspectralHook' in hooks:
        files += [Path(cfg.work_dir, name) for name in RESULTS]
    claim_work_dir(cfg, files=files, folders=folders, overwrite=args.overwrite)


def prepare(args: argparse.Namespace, parts: Sequence[str]) -> Config:
    """Load a config and fit it to the machine and the way the processes were started.

    Args:
        args: The command line.
        parts: The settings that will be built.

    Raises:
        UserError: The config does not exist, the installation cannot run it, or the processes that
            a launcher should have started are not there.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options, parts)
    if args.work_dir or cfg.get('work_dir') is None:
        cfg.work_dir = args.work_dir or f'./work_dirs/{Path(args.config).stem}'
    cfg.launcher = args.launcher
    if cfg.launcher != 'none':
        _start_processes(cfg)
    _set_dataloaders(cfg, args)
    end_failing_workers()
    return cfg


def _start_processes(cfg: Config) -> None:
    """Open the process group, which mmengine's runner then finds open."""
    check_launcher(cfg.launcher)
    env = cfg.get('env_cfg') or {}
    # In mmengine's order: the method first, as init_dist would set one by itself.
    set_multi_processing(**env.get('mp_cfg', {}), distributed=True)
    options = {'backend': 'nccl', **env.get('dist_cfg', {})}
    if torch.cuda.is_available():
        with explain_launch():
            init_dist(cfg.launcher, **options)
        return
    set_device = torch.cuda.set_device
    # init_dist reads every launcher's variables right but always chooses a CUDA device.
    torch.cuda.set_device = lambda device: None
    try:
        with explain_launch():
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
            check_resumable(read_checkpoint(found), cfg, found)
            cfg.resume, cfg.load_from = True, found
    elif resume is not None:
        check_resumable(read_checkpoint(resume), cfg, resume)
        cfg.resume, cfg.load_from = True, resume
    elif cfg.get('load_from'):
        read_checkpoint(cfg.load_from)  # to say now, not after minutes, that it is none


def _metrics(evaluator: Any) -> list:
    """Return the configs of the metrics of an evaluator."""
    parts = evaluator.get('metrics', evaluator) if isinstance(evaluator, Mapping) else evaluator
    return [part for part in _as_list(parts) if isinstance(part, Mapping)]


def _as_list(value: list | dict) -> list:
    return value if isinstance(value, list) else [value]
