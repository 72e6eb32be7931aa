"""What a run could only find out when time has been lost, found before anything is built."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError
from ..registry import is_available
from .building import typed
from .classes import check_class_settings, check_topk
from .crop import check_crop
from .numbers import check_numbers, is_whole
from .registries import did_you_mean

# what only runs together, in mmengine's words
TOGETHER = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
ALWAYS = ('env_cfg', 'log_processor', 'randomness', 'work_dir')
USED = {
    'train': (
        *ALWAYS,
        *TOGETHER['train'],
        *TOGETHER['val'],
        'default_hooks',
        'load_from',
        'resume',
    ),
    'test': (*ALWAYS, *TOGETHER['test']),
}
LEVELS = ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'FATAL', 'WARN', 'NOTSET')
# vis backends -> the packages that they write with
WRITERS = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}
# scores of a metric by the values of one of its settings
IOU = {
    'mIoU': ('aAcc', 'mIoU', 'mAcc'),
    'mDice': ('aAcc', 'mDice', 'mAcc'),
    'mFscore': ('aAcc', 'mFscore', 'mPrecision', 'mRecall'),
}


def check_run(cfg: Config, part: str) -> None:
    """Refuse what mmengine's runner would refuse, and packages that are not there.

    Args:
        cfg: The whole config.
        part: ``'train'`` or ``'test'``.

    Raises:
        UserError: Names what is missing or cannot be.
    """
    if not isinstance(cfg.get('model'), Mapping):
        raise UserError(f'{cfg.filename} has no dict named "model": give the config of a model')
    for names in TOGETHER.values():
        missing = [name for name in names if cfg.get(name) is None]
        if missing and len(missing) < len(names):
            there = ' and '.join(name for name in names if name not in missing)
            raise UserError(
                f'there is {there} without {" and ".join(missing)}: they work together, set all '
                'three or none'
            )
    check_numbers(cfg, USED[part])
    level = cfg.get('log_level') or 'INFO'
    if not isinstance(level, int) and level not in LEVELS:
        raise UserError(f'log_level={level!r}: give one of {", ".join(LEVELS)}')
    scored = 'val' if part == 'train' else part
    for metric in _metrics(cfg.get(f'{scored}_evaluator')):
        _scores(metric)
        check_topk(cfg, metric)
        _check_labelled(cfg, metric, f'{scored}_dataloader')
    for i, backend in enumerate(_as_list((cfg.get('visualizer') or {}).get('vis_backends'))):
        package = WRITERS.get(_name(backend))
        if package and not is_available(package):
            raise UserError(
                f'visualizer.vis_backends.{i}: {_name(backend)} needs {package}, which is not '
                f'installed: pip install {package}'
            )


def _check_labelled(cfg: Config, metric: Any, place: str) -> None:
    """Refuse to score label maps that the data neither have nor load."""
    loader = cfg.get(place)
    if _name(metric) != 'IoUMetric' or metric.get('format_only') or not isinstance(loader, Mapping):
        return
    parts = list(typed(loader, place))
    loads = any('Annotation' in _name(step) for _, step in parts)
    data = [step for _, step in parts if 'pipeline' in step and 'data_prefix' in step]
    if data and not loads and not any('seg_map_path' in one['data_prefix'] for one in data):
        raise UserError(
            f'{place} has no label maps, and IoUMetric compares with them: give seg_map_path and '
            'LoadAnnotations, or format_only=True and output_dir to the metric, which then writes '
            'its predictions'
        )


def check_training(cfg: Config) -> None:
    """Refuse a training that cannot end well, and warn of one that hardly will.

    Raises:
        UserError: Names the setting and what is allowed.
    """
    check_run(cfg, 'train')
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        check_numbers(cfg, ['auto_scale_lr'])
    _check_schedule(cfg)
    check_crop(cfg)
    check_class_settings(cfg)
    if cfg.get('val_evaluator') is not None:
        _check_best(cfg)


def _check_schedule(cfg: Config) -> None:
    """Compare the schedulers with the length of the run, where both count in the same unit."""
    loop = cfg.get('train_cfg')
    if not isinstance(loop, Mapping):
        return
    by_epoch = 'max_epochs' in loop
    unit = 'max_epochs' if by_epoch else 'max_iters'
    length = loop.get(unit)
    schedulers = cfg.get('param_scheduler')
    for i, scheduler in enumerate(_as_list(schedulers)):
        if not isinstance(scheduler, Mapping) or 'type' not in scheduler:
            continue  # of more than one optimizer
        place = (
            f'param_scheduler.{i}' if isinstance(schedulers, list | tuple) else 'param_scheduler'
        )
        for name in ('begin', 'end'):
            value = scheduler.get(name)
            if value is not None and not is_whole(value, 0) and value != float('inf'):
                raise UserError(f'{place}.{name}={value!r}: give a whole number from 0 on')
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        same = scheduler.get('by_epoch', True) == by_epoch and length is not None
        what = f'{place} ({_name(scheduler)})'
        if end is not None and end <= begin:
            raise UserError(f'{what} ends at {end}, but begins at {begin}: let it end later')
        if scheduler.get('start_factor') == 0:
            raise UserError(f'{place}.start_factor=0: a rate of 0 grows to nothing, give more')
        if not same:
            continue
        if end is None and begin >= length:
            raise UserError(
                f'{what} begins at {begin}, but the run ends with {unit}={length}: let it begin '
                'earlier, as after a shorter warm-up, or train longer'
            )
        if begin >= length or (end is not None and end > length and _is_warm_up(scheduler)):
            print_log(
                f'{what} goes from {begin} to {end}, but the run ends with {unit}={length}'
                + f', before the warm-up does: set {place}.end to less' * _is_warm_up(scheduler),
                'current',
                logging.WARNING,
            )


def _is_warm_up(scheduler: Mapping) -> bool:
    """Tell whether a scheduler raises the rate at the start, and so has to end in the run."""
    return _name(scheduler).startswith(('Linear', 'Constant')) and not scheduler.get('begin')


def _check_best(cfg: Config) -> None:
    """Refuse a ``save_best`` that is none of the scores, where the scores' names are known."""
    best = ((cfg.get('default_hooks') or {}).get('checkpoint') or {}).get('save_best')
    known: set[str] = set()
    for metric in _metrics(cfg.val_evaluator):
        scores = _scores(metric)
        if scores is None:
            return
        known |= scores
    for name in _as_list(best):
        if name != 'auto' and name not in known:
            raise UserError(
                f'default_hooks.checkpoint.save_best={name!r}: the validation has no such score'
                f'{did_you_mean(str(name), known) or "; it has " + ", ".join(sorted(known))}'
            )


def _metrics(evaluator: Any) -> list:
    """Return the metrics of an evaluator."""
    if isinstance(evaluator, Mapping):
        evaluator = evaluator.get('metrics', evaluator)
    return _as_list(evaluator)


def _scores(metric: Any) -> set[str] | None:
    """Return the names that a metric gives its scores, None if they are not known."""
    name, prefix = _name(metric), metric.get('prefix')
    if name == 'IoUMetric':
        wanted = _as_list(metric.get('iou_metrics', ['mIoU']))
        if unknown := set(wanted) - IOU.keys():
            raise UserError(f'iou_metrics has {unknown.pop()!r}: give {", ".join(IOU)}')
        found = {score for key in wanted for score in IOU.get(key, ())}
        return {f'{prefix}/{score}' if prefix else score for score in found}
    if name == 'HyperspectralMetric' and not metric.get('per_class'):
        return {f'{prefix or "hsi"}/{score}' for score in ('OA', 'AA', 'kappa')}
    if name == 'Accuracy' and 'thrs' not in metric:
        return {f'{prefix or "accuracy"}/top{k}' for k in _as_list(metric.get('topk', 1))}
    if name == 'CocoMetric' and not {'classwise', 'metric_items', 'prefix'} & metric.keys():
        kinds = _as_list(metric.get('metric', 'bbox'))
        if set(kinds) <= {'bbox', 'segm'}:
            ends = ('', '_50', '_75', '_s', '_m', '_l')
            return {f'coco/{kind}_mAP{end}' for kind in kinds for end in ends}
    return None


def _name(node: Any) -> str:
    """Return the bare name of a dict's type."""
    kind = node.get('type') if isinstance(node, Mapping) else None
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def _as_list(value: Any) -> list:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]
