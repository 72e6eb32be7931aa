"""Settings of the command line: each has to reach something that reads it."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config

from ..errors import UserError
from .files import is_variable, one_line
from .names import is_slip, known_keys
from .registries import did_you_mean
from .sections import SECTIONS

FREE = ('custom_keys',)  # their names are the user's

WITHOUT_EFFECT = {
    'custom_imports': 'modules are imported when the file is read, name them in it',
    'launcher': 'give --launcher',
}


def apply_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Replace settings of a config.

    Args:
        cfg: Is changed.
        options: Values by paths such as ``'model.backbone.arch'``.

    Raises:
        UserError: A path leads nowhere; names the nearest that does.
    """
    for path, value in options.items():
        _check(cfg, str(path), value)
    try:
        cfg.merge_from_dict({str(path): value for path, value in options.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'{", ".join(options)}: {one_line(error)}') from error


def _check(cfg: Config, path: str, value: Any) -> None:
    keys = path.split('.')
    if not all(keys):
        raise UserError(f'{path}: a name is empty, write it as model.backbone.arch')
    _check_first(cfg, path, value)
    node: Any = cfg._cfg_dict
    for i, key in enumerate(keys):
        place = '.'.join(keys[:i])
        if isinstance(node, list):
            if not (key.isascii() and key.isdigit()):
                hint = f'{place}.0.{key}' if node else 'nothing'
                raise UserError(f'{path}: {place} is a list, give a number of it, as {hint}')
            if int(key) >= len(node):
                numbers = f'0 to {len(node) - 1}' if node else 'none'
                raise UserError(f'{path}: {place} has no entry {key}; its entries are {numbers}')
            node = node[int(key)]
        elif isinstance(node, Mapping):
            if key not in node:
                _check_new(node, key, path, place)
                return
            node = node[key]
        else:
            what = 'a tuple, give it as a whole' if isinstance(node, tuple) else f'{node!r}'
            raise UserError(f'{path}: {place} is {what}; there is nothing below it to set')


def _check_new(node: Mapping, key: str, path: str, place: str) -> None:
    """Refuse a slip where only the dict's reader knows what it may hold."""
    typed = 'type' in node or place in SECTIONS or place.rpartition('.')[2] in FREE
    near = [name for name in node if isinstance(name, str) and is_slip(key, name)]
    if near and not typed:
        raise UserError(f'{path}: there is no {key} in {place}, did you mean {near[0]}?')


def _check_first(cfg: Config, path: str, value: Any) -> None:
    """Refuse a path whose first name is read by nothing, or no longer."""
    first, _, rest = path.partition('.')
    known = known_keys(cfg)
    own = cfg.get(first)
    if first == 'data_preprocessor' and (cfg.get('model') or {}).get(first):
        raise UserError(f'{path} changes nothing, the model has its own: set model.{path}')
    if first in WITHOUT_EFFECT:
        raise UserError(f'{path} changes nothing there: {WITHOUT_EFFECT[first]}')
    if first in known:
        if (
            not rest
            and isinstance(own, Mapping)
            and not (value is None or isinstance(value, Mapping))
        ):
            raise UserError(
                f'{path}={value!r}: it is a dict, set what is in it: {_some(own, first)}'
            )
        return
    held = _held(cfg, known, first, own)
    if first in cfg:
        if is_variable(cfg, first):
            where = f'; set {held} instead' if held else ', in the file'
            raise UserError(
                f'{path} changes nothing: {first} is a variable of the config file, from which '
                f'other settings were made when it was read{where}'
            )
        return
    near = did_you_mean(first, known)
    if near and rest:
        near = near.replace('?', f'.{rest}?')
    raise UserError(
        f'{path}: the config has no setting {first}'
        + (f', did you mean {held}?' if held and not rest else near)
    )


def _held(cfg: Config, known: set[str], name: str, value: Any) -> str:
    """Name the settings that hold a value, or that have its name, up to four of them."""
    leaves = [leaf for key in known if key in cfg for leaf in _leaves(cfg[key], key)]
    named = [path for path, _ in leaves if path.rpartition('.')[2] == name]
    same = [path for path, found in leaves if _holds(found, value)] if value is not None else []
    both = [path for path in named if path in same]
    paths = sorted(both or named or same, key=lambda path: (not path.startswith('train'), path))
    return ' or '.join(paths[:4])


def _holds(found: Any, value: Any) -> bool:
    """Tell whether a setting was made from a value that says something of itself."""
    if isinstance(value, str):
        return len(value) > 3 and isinstance(found, str) and value in found
    return isinstance(value, list | tuple | dict) and bool(value) and found == value


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of all that is in a setting."""
    yield path, node
    parts: Any = node.items() if isinstance(node, Mapping) else ()
    if isinstance(node, list) and any(isinstance(part, Mapping) for part in node):
        parts = enumerate(node)
    for key, part in parts:
        yield from _leaves(part, f'{path}.{key}')


def _some(node: Mapping, path: str) -> str:
    return ', '.join(f'{path}.{key}' for key in list(node)[:3]) or f'{path}.NAME'
