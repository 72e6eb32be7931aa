"""Going on with a training: what a checkpoint must hold, and what it says of the run it is from."""

import ast
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from ..errors import UserError

STATES = 'random_states'  # in a checkpoint's meta: one dict for each process
VALIDATED = 'validated'  # likewise: whether the validation of its step is done
# setting -> what another value means for a training that goes on
MEANS = {
    'train_dataloader.batch_size': 'samples come in another order than in an uninterrupted run, '
    'and the rate is not scaled',
    'optim_wrapper.accumulative_counts': 'the rate is not scaled',
    'param_scheduler': 'the checkpoint goes on with its own, unless the length of the training is '
    'another too',
    'train_dataloader.dataset': 'it goes on with other data, or the same from another place',
    'optim_wrapper.type': 'numbers are computed in another precision or way',
    'randomness.seed': 'samples come in another order than in an uninterrupted run',
}
# what mmengine and torch raise when they are given something else than they have written
FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError),
    ValueError,
)
OTHER_RATE = 'the checkpoint has its own rates and goes on with them: load_from takes new ones'


def check_resumable(checkpoint: Mapping, cfg: Config, path: str) -> None:
    """Refuse a checkpoint that a training cannot go on from; tell what differs from the config.

    Args:
        checkpoint: The content of the file.
        cfg: The whole config; it gets the seed of the checkpoint where it has none.
        path: The file.

    Raises:
        UserError: The file is no complete one of a training, or the optimizer is another.
    """
    meta = checkpoint.get('meta')
    needed = (
        'optimizer',
        'message_hub',
        *(['param_schedulers'] * bool(cfg.get('param_scheduler'))),
    )
    lacking = [key for key in ('meta', *needed) if not isinstance(checkpoint.get(key), dict | list)]
    steps = {key: meta.get(key) for key in ('iter', 'epoch')} if isinstance(meta, Mapping) else {}
    wrong = [f'{k}={v!r}' for k, v in steps.items() if type(v) is not int or v < 0]
    seed = meta.get('seed') if isinstance(meta, Mapping) else None
    wrong += [] if seed is None or type(seed) is int else [f'seed={seed!r}']
    if lacking or wrong:
        raise UserError(
            f'{path}: a training cannot go on from a checkpoint '
            + (
                f'without {" and ".join(lacking)}'
                if lacking
                else f'with meta.{", meta.".join(wrong)}'
            )
            + ': it was published, or another program wrote it. To start from its weights, give '
            '--cfg-options load_from=FILE instead of --resume'
        )
    former = read_config(meta.get('cfg', ''))
    if cfg.get('randomness', {}).get('seed') is None and isinstance(meta.get('seed'), int):
        cfg.setdefault('randomness', {})['seed'] = meta['seed']  # else the samples' order is new
    _check_optimizer(checkpoint, former, cfg, path)
    _check_unit(former, cfg, path)
    _tell_differences(former, cfg, meta)
    loop, step = cfg.get('train_cfg') or {}, 'iter'
    if loop.get('max_iters') is None:
        step = 'epoch'
    end = loop.get(f'max_{step}s')
    if end is not None and steps[step] >= end:
        print_log(
            f'{path} is at {step} {steps[step]}: the training to train_cfg.max_{step}s={end} is '
            f'finished, nothing is left to do. To train on, raise train_cfg.max_{step}s',
            'current',
            logging.WARNING,
        )


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn what goes wrong with a file that is no state of this training into a sentence.

    Raises:
        UserError: Names the file, and how its weights can be used all the same.
    """
    try:
        yield
    except FAULTS as error:
        if type(error).__module__.startswith('mmvit_plugins'):
            raise
        raise UserError(
            f'{path}: what it holds is no state of this training ({" ".join(str(error).split())}): '
            'resume with the config that it was trained with, or start from its weights alone with '
            '--cfg-options load_from=FILE instead of --resume'
        ) from error


def check_optimizer_state(optimizer: OptimWrapper) -> None:
    """Compare what an optimizer remembers of each weight with the weight.

    Raises:
        ValueError: It has another size.
    """
    for group in optimizer.param_groups:
        for weight in group['params']:
            kept = optimizer.optimizer.state.get(weight) or {}
            for name in ('exp_avg', 'exp_avg_sq', 'momentum_buffer'):
                if kept.get(name) is not None and kept[name].shape != weight.shape:
                    raise ValueError(
                        f"the optimizer's {name} is {tuple(kept[name].shape)} for a weight of "
                        f'{tuple(weight.shape)}'
                    )


def _check_optimizer(checkpoint: Mapping, former: Mapping, cfg: Config, path: str) -> None:
    now, then = ((x.get('optim_wrapper') or {}).get('optimizer') or {} for x in (cfg, former))
    kept = checkpoint['optimizer'] if isinstance(checkpoint['optimizer'], Mapping) else {}
    lost = kept.get('state') == {} and kept.get('param_groups')
    if lost and str(now.get('type')).startswith('Adam'):  # plain SGD keeps none
        raise UserError(
            f'{path}: its optimizer has lost its state: start from the weights alone with '
            '--cfg-options load_from=FILE instead of --resume'
        )
    if then.get('type') and now.get('type') != then['type']:
        raise UserError(
            f'{path} holds the state of the optimizer {then["type"]}, the config has '
            f'{now.get("type")}: keep {then["type"]}, or start from the weights alone with '
            '--cfg-options load_from=FILE instead of --resume'
        )


def _check_unit(former: Mapping, cfg: Config, path: str) -> None:
    """Refuse to go on by epochs where the run was counted in iterations, and the other way."""
    now, then = (
        {unit for unit in ('epochs', 'iters') if (x.get('train_cfg') or {}).get(f'max_{unit}')}
        for x in (cfg, former)
    )
    if then and now and then != now:
        raise UserError(
            f'{path} is of a training that counts {then.pop()}, the config counts {now.pop()} '
            '(train_cfg): keep the former, or start from the weights alone with --cfg-options '
            'load_from=FILE instead of --resume'
        )


def _tell_differences(former: Mapping, cfg: Config, meta: Mapping) -> None:
    lines, current = [], read_config(cfg.pretty_text)  # tuples and lists alike, as in the file
    for key, means in MEANS.items():
        now, then = _get(current, key), _get(former, key)
        if former and now != then:
            short = not isinstance(now, dict | list) and not isinstance(then, dict | list)
            was = f'is {now}, it was {then}' if short else 'is another than it was'
            lines.append(f'{key} {was}: {means}')
    now, then = (_get(x, 'optim_wrapper.optimizer') or {} for x in (current, former))
    for key in then:
        if key != 'type' and now.get(key) != then[key]:
            name = f'optim_wrapper.optimizer.{key}'
            lines.append(f'{name} is {now.get(key)}, it was {then[key]}: {OTHER_RATE}')
    states = meta.get(STATES)
    if not states or not isinstance(states, list):
        lines.append('the checkpoint has no random states: what is drawn from here on is new')
    elif len(states) != get_world_size():
        lines.append(
            f'{get_world_size()} processes train, there were {len(states)}: samples are shared out '
            'anew and random numbers are new, and the rate is not scaled'
        )
    for line in lines:
        print_log(f'resume: {line}', 'current', logging.WARNING)


def _get(config: Mapping, path: str) -> Any:
    for key in path.split('.'):
        config = config.get(key) if isinstance(config, Mapping) else None  # type: ignore[assignment]
    return config


def read_config(text: str) -> dict:
    """Read a config's text as data: literals and calls of ``dict``, nothing of it runs.

    Returns:
        Its settings; what is anything else is left out.
    """
    try:
        statements = ast.parse(text).body if isinstance(text, str) else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                found[statement.targets[0].id] = _evaluate(statement.value)
            except (ValueError, TypeError, RecursionError):
                continue
    return found


def _evaluate(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict':
        return {word.arg: _evaluate(word.value) for word in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluate(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [key and _evaluate(key) for key in node.keys]
        return dict(zip(keys, map(_evaluate, node.values), strict=True))
    return ast.literal_eval(node)  # type: ignore[arg-type]


def fit_schedules(runner: Any, checkpoint: Mapping) -> None:
    """Make the schedules of a training that became longer or shorter, up to where it is.

    mmengine goes on with those of the file, which end where the former run was to end. Here those
    of the config are made for the new length and walked through anew.

    Args:
        runner: The runner, resumed.
        checkpoint: What it was resumed from.

    Raises:
        UserError: They end before the new run does, at a rate that teaches nothing.
    """
    former = read_config(checkpoint['meta'].get('cfg', '')).get('train_cfg') or {}
    loop = runner.train_loop
    unchanged = former.get('max_iters') in (None, loop.max_iters) and former.get('max_epochs') in (
        None,
        loop.max_epochs,
    )
    configs = runner.cfg.get('param_scheduler')
    if unchanged or not configs or not isinstance(runner.optim_wrapper, OptimWrapper):
        return
    _check_end(configs, runner)
    optimizer = runner.optim_wrapper
    for group in optimizer.param_groups:
        for name in ('lr', 'momentum', 'weight_decay'):
            if f'initial_{name}' in group:
                group[name] = group[f'initial_{name}']
    runner.param_schedulers = runner._build_param_scheduler(deepcopy(configs), optimizer)
    for _ in _walk(runner.param_schedulers, loop.iter, _epoch_length(runner)):
        pass
    print_log('resume: another length of the training, so its schedules are stretched', 'current')


def _epoch_length(runner: Any) -> int:
    return len(runner.train_dataloader) if runner.cfg.train_cfg.get('by_epoch') else 0


def _walk(schedulers: Sequence, iterations: int, length: int) -> Iterator[None]:
    """Step schedulers as mmengine's hook does."""
    for iteration in range(1, iterations + 1):
        for scheduler in schedulers:
            if not scheduler.by_epoch or (length and iteration % length == 0):
                scheduler.step()
        yield


def _check_end(configs: Any, runner: Any) -> None:
    """Refuse schedules that leave a rate of next to nothing before the training ends."""
    loop, length = runner.train_loop, _epoch_length(runner)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedulers = []
    for config in deepcopy(configs if isinstance(configs, list) else [configs]):
        by_epoch = config.get('by_epoch', True)
        config.setdefault('end', loop.max_epochs if by_epoch else loop.max_iters)
        options = {'epoch_length': length} if config.get('convert_to_iter_based') else {}
        schedulers.append(
            PARAM_SCHEDULERS.build(config, default_args={'optimizer': optimizer, **options})
        )
    best, last, stays = 0.0, math.inf, 0
    for _ in _walk(schedulers, loop.max_iters, length):
        rate = optimizer.param_groups[0]['lr']
        stays = stays + 1 if rate == last else 0
        best, last = max(best, rate), rate
        if last < 1e-2 * best and stays > max(2, loop.max_iters // 100):
            raise UserError(
                f'the training is to go on to iteration {loop.max_iters}, but the schedules of the '
                f'config (param_scheduler) end before, at {last / best:.1e} of the full rate: '
                'raise the end of the last one too, or leave it out, so that it is the end'
            )
