"""Numbers of a config that cannot be, found before anything is built."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from ..errors import UserError
from .registries import find
from .signatures import parameters

LARGEST_SEED = 2**32 - 1  # NumPy's


def check_numbers(cfg: Config, parts: Sequence[str]) -> None:
    """Refuse sizes of batches, seeds, rates and intervals that nothing can work with.

    Args:
        cfg: The whole config.
        parts: The settings at its top that are used.

    Raises:
        UserError: Names the setting, its value, and what is allowed.
    """
    for path, (allowed, fits) in RULES.items():
        value = _get(cfg._cfg_dict, path) if path.partition('.')[0] in parts else None
        if value is not None and not fits(value):
            raise UserError(f'{path}={value!r}: give {allowed}')


def check_model(cfg: Config) -> None:
    """Refuse numbers of classes that are none, and heads that ask for maps that are not made.

    Raises:
        UserError: Names the setting.
    """
    model = cfg.get('model')
    for path, value in _named(model, 'std', 'model'):
        if isinstance(value, list | tuple) and 0 in value:
            raise UserError(f'{path}={value!r}: pictures are divided by it, give numbers above 0')
    mode = _get(model, 'test_cfg.mode')
    kind = str(_get(model, 'type'))
    if kind.endswith('EncoderDecoder') and mode not in (None, 'slide', 'whole'):
        raise UserError(f"model.test_cfg.mode={mode!r}: give 'whole' or 'slide'")
    for path, value in _named(model, 'num_classes', 'model'):
        if value is not None and not is_whole(value, 1):
            raise UserError(f'{path}={value!r}: give a whole number of classes from 1 on')
    for path, value in _named(model, 'channels', 'model'):
        if isinstance(value, int) and value < 1:
            raise UserError(f'{path}={value!r}: give a whole number of channels from 1 on')
    if not isinstance(model, Mapping) or model.get('neck'):
        return
    made = _out_indices(model.get('backbone'), cfg.get('default_scope') or 'mmengine')
    if made is None:
        return
    for path, value in _named(model, 'in_index', 'model'):
        asked = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(index, int) and index >= len(made) for index in asked):
            raise UserError(
                f'{path}={value!r} asks for more maps than the {len(made)} of '
                f'model.backbone.out_indices={made!r}: numbers from 0 to {len(made) - 1} are there'
            )


def _out_indices(backbone: Any, scope: str) -> Sequence | None:
    """Return which maps a backbone makes, by its settings or its class, None if that is open."""
    if not isinstance(backbone, Mapping):
        return None
    made = backbone.get('out_indices')
    kind = find(backbone.get('type'), MODELS, backbone.get('_scope_') or scope)
    if made is None and kind is not None:
        made = getattr(parameters(kind).names.get('out_indices'), 'default', None)
    return made if isinstance(made, list | tuple) else None


def is_whole(value: Any, least: int, most: float = math.inf) -> bool:
    """Tell whether a value is a whole number in a range."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_real(value: Any) -> bool:
    """Tell whether a value is a number from 0 on; what is no number of Python's is left alone."""
    if isinstance(value, bool | str | list | tuple | dict):
        return False
    return not isinstance(value, int | float) or (math.isfinite(value) and value >= 0)


def _from(least: int, *also: int) -> tuple[str, Callable[[Any], bool]]:
    words = f'a whole number from {least} on' + ''.join(f', or {n} for none' for n in also)
    return words, lambda value: is_whole(value, least) or (is_whole(value, -1) and value in also)


REAL = ('a number from 0 on', _is_real)
STEPS = (
    'a whole number from 1 on',
    lambda value: (
        is_whole(value, 1) or (isinstance(value, float) and value.is_integer() and value >= 1)
    ),
)
RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    'train_cfg.max_iters': STEPS,
    'train_cfg.max_epochs': STEPS,
    'train_cfg.val_interval': STEPS,
    'train_cfg.val_begin': _from(0),
    **{
        f'{part}_dataloader.{name}': _from(least)
        for part in ('train', 'val', 'test')
        for name, least in (('batch_size', 1), ('num_workers', 0), ('prefetch_factor', 1))
    },
    'randomness.seed': (
        f'a whole number from 0 to {LARGEST_SEED}, or None for one that is drawn',
        lambda value: is_whole(value, 0, LARGEST_SEED),
    ),
    'optim_wrapper.optimizer.lr': REAL,
    'optim_wrapper.optimizer.weight_decay': REAL,
    'optim_wrapper.optimizer.momentum': REAL,
    'optim_wrapper.accumulative_counts': _from(1),
    'optim_wrapper.clip_grad.max_norm': REAL,
    'default_hooks.logger.interval': _from(1),
    'default_hooks.checkpoint.interval': _from(1, -1),
    'default_hooks.checkpoint.save_begin': _from(0),
    'default_hooks.checkpoint.max_keep_ckpts': (
        'a whole number from 1 on, or -1 to keep all',
        lambda value: is_whole(value, -1) and value != 0,
    ),
    'auto_scale_lr.base_batch_size': _from(1),
    'log_processor.window_size': _from(1),
    'env_cfg.resource_limit': _from(0),
    'env_cfg.mp_cfg.opencv_num_threads': _from(0),
    'env_cfg.mp_cfg.mp_start_method': (
        'fork, spawn or forkserver',
        lambda value: value in ('fork', 'spawn', 'forkserver'),
    ),
    'load_from': ('the path of a checkpoint', lambda value: isinstance(value, str)),
    'work_dir': ('the path of a folder', lambda value: isinstance(value, str)),
    'resume': ('True or False', lambda value: isinstance(value, bool)),
}


def _get(node: Any, path: str) -> Any:
    for key in path.split('.'):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _named(node: Any, name: str, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the paths and values of all settings of a name."""
    if isinstance(node, Mapping):
        parts: Any = node.items()
    else:
        parts = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, part in parts:
        if key == name:
            yield f'{path}.{key}', part
        yield from _named(part, name, f'{path}.{key}')
