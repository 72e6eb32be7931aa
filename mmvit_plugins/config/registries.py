"""Looks types up as mmengine will when it builds, and finds the nearest of those that are there."""

from collections.abc import Iterable
from contextlib import suppress
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module
from typing import Any

from mmengine.registry import Registry

from ..registry import HOST_MODELS, HOSTS, SCOPE, is_available


def find(kind: Any, registry: Registry, scope: str) -> Any:
    """Return the class or function that a ``type`` stands for, None if there is none.

    Args:
        kind: A name, with or without a scope, or the class itself.
        registry: mmengine's.
        scope: The ``default_scope``.

    Raises:
        ImportError: What the type needs is not installed.
    """
    if not isinstance(kind, str):
        return kind if callable(kind) else None
    try:
        return _node(registry, scope).get(kind)
    except RuntimeError as error:
        if not str(error).startswith('Failed to get'):
            raise
        return None


def nearest_type(kind: str, registry: Registry, scope: str) -> str:
    """Say which type of a registry was meant, by its name or by what it is in another scope."""
    here: set[str] = set()
    node: Registry | None = _node(registry, scope)
    while node is not None:
        here |= node.module_dict.keys()
        node = node.parent
    there = {
        f'{name}.{known}'
        for name, child in registry.children.items()
        for known in child.module_dict
    }
    if registry.name == 'model':
        there |= {f'{SCOPE}.{name}' for name in HOST_MODELS}
    for name in sorted(there):
        host = name.partition('.')[0]
        if name == f'{host}.{kind}':
            return f': write {name}, or set default_scope={host}'
    prefix = kind.partition('.')[0] if '.' in kind else ''
    near = did_you_mean(kind, there if prefix else here)
    return near or did_you_mean(kind, there | here)


def check_scope(scope: Any) -> str | None:
    """Say what is wrong with a ``default_scope``, None if it is that of a package."""
    known = {'mmengine', SCOPE, *HOSTS}
    if isinstance(scope, str) and (
        scope in known or (scope.isidentifier() and is_available(scope))
    ):
        return None
    return f'default_scope={scope!r}: there is no such package{did_you_mean(str(scope), known)}'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a clause that names the nearest of the known words, an empty one if none is near."""
    near = get_close_matches(word, list(known), 1)
    return f', did you mean {near[0]}?' if near else ''


def is_slip(word: str, known: str) -> bool:
    """Tell whether two words differ by one letter, or by two that changed places."""
    blocks = SequenceMatcher(None, word, known).get_matching_blocks()
    return sum(block.size for block in blocks) >= max(len(word), len(known)) - 1


def _node(registry: Registry, scope: str) -> Registry:
    """Return a registry's node of a scope; itself, as mmengine does, where there is none."""
    if is_available(scope):
        with suppress(ImportError, AttributeError):
            import_module(f'{scope}.registry')
    node = registry._search_child(scope)
    return registry if node is None else node  # an empty one is false
