"""What a class says when it is built with a wrong value, told with the place in the config."""

import linecache
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine import registry as reg
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.registry import build_functions as builders
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ..errors import UserError
from .files import one_line
from .registries import did_you_mean, nearest_type
from .signatures import parameters

PACKAGE = Path(__file__).resolve().parents[1]
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)

BUILDERS = (builders.build_from_cfg.__code__, Runner.build_dataloader.__code__)


@contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """Tell of errors that mmengine meets while it builds something from a config where they are.

    Errors elsewhere, as while a model runs, stay as they are, and so do our own sentences.

    Args:
        cfg: The whole config.

    Raises:
        UserError: Names the setting, the class, and what that has to say.
    """
    try:
        yield
    except FAULTS as error:
        frames = list(traceback.walk_tb(error.__traceback__))
        if not (built := builds(error)):
            raise
        raise UserError(_explain(error, built[-1], cfg, frames[-1])) from error


def builds(error: Exception) -> list[FrameType]:
    """Return where mmengine was building from a config when an error of another's code came up."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if Path(frames[-1].f_code.co_filename).resolve().is_relative_to(PACKAGE):
        return []
    return [frame for frame in frames if frame.f_code in BUILDERS]


def _explain(error: Exception, frame: FrameType, cfg: Config, last: tuple[FrameType, int]) -> str:
    """Say what could not be built, and why."""
    loader = frame.f_code is not builders.build_from_cfg.__code__
    node = frame.f_locals['dataloader' if loader else 'cfg']
    if not isinstance(node, Mapping):
        return f'{_around(frame, cfg)}={node!r}: give a dict with a type'
    kind = DataLoader if loader else frame.f_locals.get('obj_cls')
    name = getattr(kind, '__name__', None) or str(node.get('type'))
    text = one_line(error)
    places = list(_places(cfg._cfg_dict, node))
    place = f'{places[0]} ({name})' if len(places) == 1 or places and kind is None else name
    unknown = re.search(r"got an unexpected keyword argument '(\w+)'", text)
    if kind is None and 'type' in node and isinstance(frame.f_locals['registry'], Registry):
        registry = frame.f_locals['registry']
        near = nearest_type(str(node['type']), registry, registry.scope)
        return f'{places[0] if places else "type"}: there is no {registry.name} {name!r}{near}'
    if not loader and 'type' not in node:
        return f'{places[0] if places else dict(node)}: it needs a type'
    if unknown and kind is not None:
        near = did_you_mean(unknown[1], parameters(kind).names)
        return f'{place} takes no {unknown[1]}{near}'
    if 'is not a subset of classes' in text:  # mmsegmentation's
        return (
            f'{place} has no such classes as {node["metainfo"]["classes"]!r:.200}, only some of '
            "its own can be chosen: set type='BaseSegDataset' for other data"
        )
    layer = last[0].f_locals.get('layer_type')  # mmcv's, which tells the class that it found
    if text.startswith('Cannot find None') and isinstance(layer, str):
        near = nearest_type(layer, reg.MODELS, cfg.get('default_scope') or 'mmengine')
        return f'{place}: there is no layer {layer!r}{near}'
    if isinstance(error, AssertionError) and not text:
        line = linecache.getline(last[0].f_code.co_filename, last[1]).strip()
        text = f'it needs {line.removeprefix("assert ")}'
    return (
        f'{place} cannot be built with these settings: {text or type(error).__name__} '
        '(MMVIT_TRACEBACK=1 shows where)'
    )


def _around(frame: FrameType, cfg: Config) -> str:
    """Return the path of what is no dict, as far as the class that it is for tells it."""
    outer = frame.f_back
    while outer is not None and outer.f_code not in BUILDERS:
        outer = outer.f_back
    node, value = outer.f_locals.get('cfg') if outer else None, frame.f_locals['cfg']
    if not isinstance(node, Mapping):
        return 'model'
    place = next(iter(_places(cfg._cfg_dict, node)), str(node.get('type')))
    names = [key for key, part in node.items() if part is value or part == value]
    return f'{place}.{names[0]}' if len(names) == 1 else place


def _places(node: Any, wanted: Mapping, path: str = '') -> Iterator[str]:
    """Yield the paths of dicts of the wanted type; of equal ones alone if there are any."""
    found = [
        (place, part) for place, part in typed(node, path) if part.get('type') == wanted.get('type')
    ]
    equal = [place for place, part in found if part == wanted]
    yield from equal or [place for place, _ in found]


def typed(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Yield path and dict of all that has a type, at any depth."""
    if isinstance(node, Mapping):
        if path:
            yield path, node
        parts: Any = node.items()
    else:
        parts = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, part in parts:
        yield from typed(part, f'{path}.{key}' if path else str(key))
