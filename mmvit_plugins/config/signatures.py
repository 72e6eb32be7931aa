"""Which keyword arguments a class takes, up its chain of ``**kwargs``."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import nn


@dataclass
class Parameters:
    """The keyword arguments of a class or function.

    Attributes:
        names: Those that are known by name.
        strict: Any other raises an error; else it is passed over in silence.
        is_open: Any other may be read, somewhere.
    """

    names: dict[str, inspect.Parameter]
    strict: bool = True
    is_open: bool = False


@cache
def parameters(kind: Callable) -> Parameters:
    """Return what a class or function takes.

    ``**kwargs`` that a class hands to ``super().__init__`` are those of the next class; where its
    code does something else with them, any name may be one.
    """
    if not inspect.isclass(kind):
        return _own(kind)[0]
    found = Parameters({})
    after = ''  # super(X, self) goes on behind X
    for owner in kind.__mro__:
        if owner in (object, nn.Module):
            return found
        if after:
            after = '' if owner.__name__ == after else after
            continue
        if '__init__' not in vars(owner):
            if '__new__' in vars(owner):
                found.is_open = True
                return found
            continue
        own, up = _own(vars(owner)['__init__'])
        found = Parameters({**own.names, **found.names}, own.strict, own.is_open)
        if up is None:
            return found
        after = '' if up in ('', owner.__name__) else up
    return found


def _own(function: Callable) -> tuple[Parameters, str | None]:
    """Return what a function takes by itself, and behind which class the rest goes up, if it does.

    That class is an empty name for the class itself.
    """
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return Parameters({}, is_open=True), None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    own = Parameters({n: p for n, p in known.items() if n != 'self' and p.kind in named})
    rest = next((n for n, p in known.items() if p.kind is p.VAR_KEYWORD), None)
    if rest is None:
        return own, None
    try:
        uses = list(_uses(ast.parse(textwrap.dedent(inspect.getsource(function))), rest))
    except (OSError, TypeError, SyntaxError):
        uses = [None]
    own.is_open = None in uses
    up = next((use for use in uses if isinstance(use, str)), None)
    own.strict = up is not None
    for use in uses:
        if isinstance(use, ast.Constant):
            own.names.setdefault(use.value, inspect.Parameter(use.value, named[1]))
    return own, None if own.is_open else up


def _uses(tree: ast.AST, rest: str) -> Iterator[Any]:
    """Yield the uses of ``**rest``: the class behind which it goes up, what is read, or None."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Name) and node.id == rest):
            continue
        parent = parents[node]
        match parent, parents.get(parent):
            case ast.keyword(arg=None), ast.Call(
                func=ast.Attribute(
                    attr='__init__', value=ast.Call(func=ast.Name(id='super'), args=behind)
                )
            ):
                yield behind[0].id if behind and isinstance(behind[0], ast.Name) else ''
            case ast.Dict(), ast.Assign(targets=[ast.Name(id=name)]) if name == rest:
                continue
            case ast.Attribute(attr='pop' | 'get' | 'setdefault'), ast.Call(
                args=[ast.Constant() as read, *_]
            ):
                yield read
            case ast.Subscript(slice=ast.Constant() as read), _:
                yield read
            case ast.Compare(left=ast.Constant() as read), _:
                yield read
            case _:
                yield None
