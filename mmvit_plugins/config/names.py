"""Settings that nothing reads, and types that do not exist, found before anything is built.

What mmengine and the hosts build from a dict with a ``type`` is compared with what the class takes,
other dicts that mmengine reads with the names that it looks for. A dict that only its reader knows
is left alone, and so is all below a class of someone else, which may read it as it likes.
"""

from collections.abc import Collection, Mapping
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mmengine import registry as reg
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from ..errors import UserError
from ..registry import HOSTS
from .files import is_variable
from .registries import did_you_mean, find, is_slip, nearest_type
from .sections import (
    ALSO_READ,
    BELOW,
    CONSTRUCTOR,
    DEFAULT_HOOKS,
    EVALUATOR,
    FACTORS,
    PARAMWISE,
    SCHEDULER,
    SECTIONS,
    Built,
    Read,
    names_of,
)
from .signatures import parameters

OURS = ('mmengine', 'mmcv', 'torch', 'mmvit_plugins', *HOSTS)
NEEDED = {'env_cfg', 'randomness'}  # mmengine has a default, but takes no None
ALWAYS = {'type', '_scope_', '_delete_'}
NO_TEXT = {bool, int, float, complex, tuple, list, dict, set, NoneType}


def check_names(cfg: Config, parts: Collection[str], given: Collection[str] = ()) -> None:
    """Compare a config with what will read it.

    Args:
        cfg: The whole config, whose host has been imported.
        parts: The settings at its top that will be built.
        given: Settings of the command line, which are there to be read.

    Raises:
        UserError: A setting or a type does not exist; names it and the nearest that does.
        ImportError: What a type needs is not installed.
    """
    known = known_keys(cfg)
    for key in cfg:
        slip = [name for name in known if key not in known and is_slip(key, name)]
        if slip and not is_variable(cfg, key):
            raise UserError(f'{cfg.filename}: nothing reads {key}, did you mean {slip[0]}?')
    check = _Checker(cfg, given)
    if 'runner_type' in cfg:
        check.find(cfg.runner_type, 'runner_type', reg.RUNNERS, check.scope)
    for key in sorted({*parts, *(path.partition('.')[0] for path in given)}):
        value = cfg.get(key)
        if key in SECTIONS and (
            isinstance(value, str | int | float) or (value is None and key in cfg and key in NEEDED)
        ):
            raise UserError(f'{key}={value!r}: give a dict, or leave it out')
        if key in SECTIONS:
            check.value(value, key, SECTIONS[key])


def known_keys(cfg: Config) -> set[str]:
    """Return what the runner and the tools read at the top of a config."""
    kind = find(cfg.get('runner_type', 'Runner'), reg.RUNNERS, scope_of(cfg))
    return (names_of(Runner, kind or Runner) | ALSO_READ) - {'cfg'}


def scope_of(cfg: Config) -> str:
    """Return the scope that mmengine looks types up in."""
    return cfg.get('default_scope') or 'mmengine'


class _Checker:
    """Goes through a config; ``path`` is where in it."""

    def __init__(self, cfg: Config, given: Collection[str]) -> None:
        self.cfg, self.given, self.scope = cfg, given, scope_of(cfg)

    def value(self, node: Any, path: str, what: Built | Read) -> None:
        """Check a dict, or each of a list."""
        if isinstance(node, list | tuple):
            for i, part in enumerate(node):
                if isinstance(part, str):
                    raise UserError(
                        f'{path}.{i}={part!r}: give a dict, on the command line as '
                        f"{path}=\"[{{'type':'NAME'}}]\""
                    )
                self.value(part, f'{path}.{i}', what)
        elif not isinstance(node, Mapping):
            return
        elif path == 'default_hooks':
            self.hooks(node, what)
        elif path == 'optim_wrapper' and not self.is_single(node):
            return
        elif isinstance(what, Read):
            self.read(node, path, what)
        else:
            self.built(node, path, self.chosen(node, path, what))

    def read(self, node: Mapping, path: str, what: Read) -> None:
        """Check a dict that mmengine reads key by key."""
        for key, value in node.items():
            if key not in what.names | ALWAYS:
                self.refuse(path, key, what.names, what.strict, 'nothing reads this setting')
            elif key in what.below:
                self.value(value, f'{path}.{key}', what.below[key])

    def built(self, node: Mapping, path: str, what: Built | Read) -> None:
        """Check a dict that something is built from, and what is below it."""
        if isinstance(what, Read):
            return self.read(node, path, what)
        kind = node.get('type', what.default)
        if kind is None:
            if what is SCHEDULER:  # one for each optimizer
                for key, value in node.items():
                    self.value(value, f'{path}.{key}', what)
            return None
        found = self.find(kind, f'{path}.type', what.registry, node.get('_scope_') or self.scope)
        taken = parameters(found)
        ours = getattr(found, '__module__', '').startswith(OURS)
        for key, value in node.items():
            if key in taken.names:
                if isinstance(value, str) and _takes_no_text(taken.names[key], ours):
                    name = getattr(found, '__name__', kind)
                    raise UserError(f'{path}.{key}={value!r}: {name} takes no text there')
            elif key not in what.extra | ALWAYS and not taken.is_open:
                reason = f'{getattr(found, "__name__", kind)} has no such setting'
                self.refuse(path, key, taken.names.keys() | what.extra, taken.strict, reason)
        # albumentations' own transforms are in no registry
        if not ours or 'Albu' in str(kind):
            return None
        for key, value in node.items():
            if key in BELOW:
                self.value(value, f'{path}.{key}', BELOW[key])
        return None

    def find(self, kind: Any, path: str, registry: Registry, scope: str) -> Any:
        """Return the class of a type, or refuse it."""
        found = find(kind, registry, scope)
        if found is None:
            raise UserError(
                f'{path}: there is no {registry.name} {kind!r} in {scope}'
                + nearest_type(str(kind), registry, scope)
            )
        return found

    def refuse(self, path: str, key: str, known: Collection[str], strict: bool, why: str) -> None:
        """Refuse a name that nothing reads; where it does no harm, only if it is a slip."""
        path = f'{path}.{key}'
        slip = any(is_slip(key, name) for name in known)
        if (
            strict
            or slip
            or any(name == path or name.startswith(f'{path}.') for name in self.given)
        ):
            raise UserError(f'{path}: {why}{did_you_mean(key, known)}')

    def chosen(self, node: Mapping, path: str, what: Built) -> Built | Read:
        """Return what reads a dict, where that depends on the dict."""
        if path == 'train_cfg' and 'type' not in node:
            loop = EpochBasedTrainLoop if node.get('by_epoch') else IterBasedTrainLoop
            return Read(names_of(loop) | {'by_epoch'})
        if path in ('val_evaluator', 'test_evaluator') and 'metrics' in node:
            return EVALUATOR
        if path in ('data_preprocessor', 'model.data_preprocessor') and self.scope == 'mmpretrain':
            model = (self.cfg.get('model') or {}).get('type')
            if model in ('ImageClassifier', 'mmvit_plugins.TwoStageClassifier'):
                return Built(what.registry, 'ClsDataPreprocessor')
        return what

    def hooks(self, node: Mapping, what: Built | Read) -> None:
        """Check ``default_hooks``, which are known by their names."""
        for name, hook in node.items():
            typed = isinstance(hook, Mapping) and 'type' in hook
            if hook is None and name not in DEFAULT_HOOKS:
                raise UserError(
                    f'default_hooks.{name}=None: None turns off {", ".join(sorted(DEFAULT_HOOKS))}'
                    + did_you_mean(name, DEFAULT_HOOKS)
                )
            if not typed and (name not in DEFAULT_HOOKS or isinstance(hook, Mapping)):
                others = {*DEFAULT_HOOKS, *node} - {name}
                raise UserError(
                    f'default_hooks.{name}: there is no hook of that name without a type'
                    + did_you_mean(name, others)
                )
            self.value(hook, f'default_hooks.{name}', what)

    def is_single(self, node: Mapping) -> bool:
        """Tell whether mmengine's wrapper reads it, and check what is of its constructor."""
        constructor = node.get('constructor')
        if constructor is not None:
            path = 'optim_wrapper.constructor'
            kind = self.find(constructor, path, CONSTRUCTOR.registry, self.scope)
            return kind.__module__.startswith(OURS) and 'optimizer' in node
        if isinstance(node.get('paramwise_cfg'), Mapping):
            path = 'optim_wrapper.paramwise_cfg'
            self.read(node['paramwise_cfg'], path, Read(PARAMWISE, strict=False))
            for name, factors in (node['paramwise_cfg'].get('custom_keys') or {}).items():
                place = f'{path}.custom_keys.{name}'
                if not isinstance(factors, Mapping):
                    raise UserError(f'{place}={factors!r}: give a dict, as dict(lr_mult=0.1)')
                self.read(factors, place, Read(FACTORS, strict=False))
        return 'optimizer' in node


def _takes_no_text(parameter: Parameter, ours: bool) -> bool:
    """Tell whether a class says of an argument that it is a number, a list or a dict.

    Of ours and the hosts', True and False as a default say it too.
    """
    if parameter.annotation is parameter.empty:
        return ours and isinstance(parameter.default, bool)
    return not isinstance(parameter.default, str) and not _may_be_text(parameter.annotation)


def _may_be_text(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return any(map(_may_be_text, get_args(kind)))
    if origin is Literal:
        return any(isinstance(value, str) for value in get_args(kind))
    return not (kind in NO_TEXT or origin in NO_TEXT) if isinstance(kind, type) or origin else True
