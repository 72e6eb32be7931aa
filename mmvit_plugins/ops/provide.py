"""Make ``mmcv.ops`` usable and right, once, when it is imported.

Without compiled operators mmcv cannot import ``mmcv.ops``; :mod:`.extension` takes their place.
Compiled ones read the memory of a tensor as if it were contiguous (open-mmlab/mmcv#2203); they get
tensors that are. ``docs/operators.md`` has the whole.
"""

import ast
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import nn
from torch.utils._pytree import tree_map

from ..registry import HOSTS
from .layout import contiguous

OPS = 'mmcv.ops'
COMPILED = 'mmcv._ext'


def provide() -> None:
    """See to ``mmcv.ops``: now if it is there, else when somebody imports it.

    Hosts that were imported before, and met an mmcv without operators, go by what they have instead
    of them; they import them now.
    """
    if OPS in sys.modules:
        _complete(sys.modules[OPS])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
        _import_again()


def stands_in() -> bool:
    """Tell whether mmcv's operators are not compiled, so that others stand in; imports them."""
    importlib.import_module(OPS)
    return sys.modules[COMPILED].__name__ != COMPILED


def check_operators(model: Mapping) -> None:
    """Refuse a config that names an operator which nothing stands in for, before data are read.

    A module refuses by itself when it is built, but ``nms=dict(type='nms_rotated')`` builds none.

    Args:
        model: The config of a model.

    Raises:
        OperatorError: Naming the operator.
    """
    ops = importlib.import_module(OPS)
    for name in _types(model):
        for found in getattr(ops, name, None), MODELS.module_dict.get(name):
            if hasattr(found, 'refuses') or (inspect.isfunction(found) and _is_absent(found)):
                raise sys.modules[COMPILED].OperatorError(name)


def _types(config: object) -> Iterator[str]:
    """The values of all keys ``type`` in nested dicts and lists."""
    if isinstance(config, Mapping):
        if isinstance(config.get('type'), str):
            yield config['type']
        config = config.values()
    if isinstance(config, Iterable) and not isinstance(config, str):
        for value in config:
            yield from _types(value)


class _Finder:
    """Finds ``mmcv.ops`` as the others do, and sees to it before and after it is executed."""

    def find_spec(self, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != OPS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, found), None)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                _find_operators()
                execute(module)
                _complete(module)

            spec.loader.exec_module = exec_module
        return spec


def _find_operators() -> None:
    """Import the compiled operators, or put what stands in for them in their place."""
    try:
        importlib.import_module(COMPILED)
        return
    except ModuleNotFoundError:
        pass
    except ImportError as error:  # as of undefined symbols
        warnings.warn(
            f"mmcv's compiled operators do not fit torch {torch.__version__} "
            f"({str(error).splitlines()[0]}): torchvision's stand in. Without compiled ones this "
            'line goes away: pip install --force-reinstall --no-deps --no-cache-dir onedl-mmcv',
            stacklevel=2,
        )
    try:
        from . import extension
    except Exception as error:  # a torchvision of another torch raises a RuntimeError
        # what hosts expect of an mmcv without operators
        raise ModuleNotFoundError(
            f"mmcv has no compiled operators, and torchvision's cannot stand in ({error}); install "
            'a torchvision that fits the torch at hand',
            name=COMPILED,
        ) from error
    sys.modules[COMPILED] = extension


def _complete(ops: ModuleType) -> None:
    """Go over the parts of ``mmcv.ops``: mend compiled ones, or refuse what nothing stands for."""
    operators = sys.modules[COMPILED]
    compiled = operators.__name__ == COMPILED
    for name, module in list(sys.modules.items()):
        if not name.startswith(f'{ops.__name__}.') or not hasattr(module, 'ext_module'):
            continue
        classes = [x for x in vars(module).values() if inspect.isclass(x) and x.__module__ == name]
        if compiled:
            _accept_any_layout(module, classes)
            continue
        if _is_absent(module):
            for kind in classes:
                if issubclass(kind, nn.Module):
                    _refuse(kind)


def _is_absent(part: ModuleType | Callable) -> bool:
    """Tell whether a part of mmcv's code calls an operator that nothing stands in for."""
    called = set(re.findall(r'\bext_module\.(\w+)', inspect.getsource(part)))
    return any(hasattr(getattr(sys.modules[COMPILED], name), 'absent') for name in called)


def _refuse(kind: Any) -> None:
    """Let a module say what is missing when it is built, and not when data reach it."""
    from .extension import OperatorError

    def refuse(self, *args, **kwargs):
        raise OperatorError(kind.__name__)

    kind.__init__ = refuse
    kind.refuses = True


def _accept_any_layout(module: Any, classes: list[type]) -> None:
    """Hand compiled operators contiguous tensors; those that are so already stay as they are.

    Every call of an operator gets them. Autograd functions get them first: what they save, and the
    gradients that they make in its image for an operator to fill, are then contiguous too.
    """
    if isinstance(module.ext_module, _ContiguousCalls):
        return
    module.ext_module = _ContiguousCalls(module.ext_module)
    for kind in classes:
        if issubclass(kind, torch.autograd.Function):
            for step in {'forward', 'backward'} & vars(kind).keys():
                setattr(kind, step, staticmethod(_contiguous(getattr(kind, step))))


class _ContiguousCalls:
    """A module whose functions get contiguous tensors."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Callable:
        return _contiguous(getattr(self.module, name))


def _contiguous(function: Callable) -> Callable:
    @wraps(function)
    def call(*args, **kwargs):
        args, kwargs = tree_map(
            lambda x: contiguous(x) if isinstance(x, torch.Tensor) else x, (args, kwargs)
        )
        return function(*args, **kwargs)

    return call


def _import_again() -> None:
    """Repeat what modules of hosts imported from ``mmcv.ops`` in vain, into the same names."""
    for name, module in list(sys.modules.items()):
        if name.partition('.')[0] not in ('mmcv', *HOSTS) or name.startswith(OPS):
            continue
        if getattr(module.__spec__, '_initializing', False):  # what it imports is to come
            continue
        for node in _guarded_imports(module):
            exec(compile(ast.Module([node], []), name, 'exec'), vars(module))


def _guarded_imports(module: ModuleType) -> list[ast.ImportFrom]:
    """The imports from ``mmcv.ops`` that a module guards by ``try``, at its top level."""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # no Python file
        return []
    if OPS not in source:
        return []
    guarded = (node for node in ast.parse(source).body if isinstance(node, ast.Try))
    steps = (step for node in guarded for step in node.body)
    return [x for x in steps if isinstance(x, ast.ImportFrom) and (x.module or '').startswith(OPS)]
