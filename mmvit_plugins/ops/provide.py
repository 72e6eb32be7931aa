"""Make ``mmcv.ops`` usable and right, once, when it is imported.

Without compiled operators mmcv cannot import ``mmcv.ops``; :mod:`.extension` takes their place.
With them, the operators read the memory of a tensor as if it were contiguous (open-mmlab/mmcv#2203);
their inputs are brought into that layout. ``docs/operators.md`` has the whole.
"""

import ast
import importlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType

import torch
from torch import nn
from torch.utils._pytree import tree_map

from ..registry import HOSTS

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
    """Go over the classes of ``mmcv.ops``: refuse what has no operator, or mend what is compiled."""
    compiled = sys.modules[COMPILED]
    stands_in = compiled.__name__ != COMPILED
    for name, module in list(sys.modules.items()):
        if not name.startswith(f'{OPS}.') or not hasattr(module, 'ext_module'):
            continue
        classes = [x for x in vars(module).values() if inspect.isclass(x) and x.__module__ == name]
        if not stands_in:
            for kind in classes:
                if issubclass(kind, torch.autograd.Function):
                    _make_contiguous(kind)
            continue
        needed = set(re.findall(r'\bext_module\.(\w+)', inspect.getsource(module)))
        if any(getattr(getattr(compiled, need), 'absent', False) for need in needed):
            for kind in classes:
                if issubclass(kind, nn.Module):
                    _refuse(kind)


def _refuse(kind: type) -> None:
    """Let a module say what is missing when it is built, and not when data reach it."""
    from .extension import OperatorError

    def refuse(self, *args, **kwargs):
        raise OperatorError(kind.__name__)

    kind.__init__ = refuse


def _make_contiguous(function: type) -> None:
    """Hand an operator contiguous tensors, forward and backward; those that are so stay as is."""
    for step in ('forward', 'backward'):
        original = getattr(function, step)
        if not hasattr(original, 'any_layout'):
            setattr(function, step, staticmethod(_with_contiguous(original)))


def _with_contiguous(step: Callable) -> Callable:
    @wraps(step)
    def call(*args, **kwargs):
        args, kwargs = tree_map(
            lambda x: x.contiguous() if isinstance(x, torch.Tensor) else x, (args, kwargs)
        )
        return step(*args, **kwargs)

    call.any_layout = True
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
