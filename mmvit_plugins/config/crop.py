"""One variable, ``crop_size``, that all settings follow which are made from it, in any file.

A segmentation config has the size of its crops in up to five places: the training pipeline's
``RandomResize``, ``RandomCrop`` and ``Pad``, the data preprocessor, and a test in windows. A config
that makes them from ``crop_size`` is read again where a later file, or the command line, gives that
another value.
"""

import ast
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.config import config as reader
from mmengine.config.utils import RemoveAssignFromAST
from mmengine.logging import print_log

from ..errors import UserError
from .building import typed
from .files import read_config
from .numbers import is_whole

CROP = 'crop_size'

Size = tuple[int, int]


def read_with_crop(path: str, options: Mapping[str, Any]) -> tuple[Config, dict[str, Any]]:
    """Read a config whose last ``crop_size``, or that of the options, goes wherever it is used.

    Args:
        path: The config file.
        options: Settings that replace those of the config, by their paths.

    Returns:
        The config, and the options that are still to be applied.

    Raises:
        UserError: As :func:`read_config`, or the size is none.
    """
    found: list[Any] = []
    with _assignments(found, None):
        cfg = read_config(path)
    rest = dict(options)
    if not found or CROP not in cfg:
        return cfg, rest
    size = _size(rest.pop(CROP, cfg.get(CROP)))
    if all(value == size for value in found):
        return cfg, rest
    with _assignments([], size):
        again = read_config(path)
    again[CROP] = cfg[CROP] = size
    _follow(again, {value for value in found if isinstance(value, tuple) and value != size}, size)
    if again._cfg_dict != cfg._cfg_dict:
        print_log(f'{CROP}={size} goes to all settings that are made from it', 'current')
    return again, rest


def _size(value: Any) -> Size:
    if is_whole(value, 1):
        return value, value
    if isinstance(value, list | tuple) and len(value) == 2 and all(is_whole(x, 1) for x in value):
        return value[0], value[1]
    raise UserError(f'{CROP}={value!r}: give height and width in pixels, as (512, 512)')


@contextmanager
def _assignments(found: list[Any], value: Size | None) -> Iterator[None]:
    """Note what the files that are read assign to ``crop_size``; give it a value in all of them."""

    class Assign(RemoveAssignFromAST):
        def visit_Assign(self, node: ast.Assign) -> ast.AST | None:  # noqa: N802
            if any(isinstance(target, ast.Name) and target.id == CROP for target in node.targets):
                try:
                    found.append(ast.literal_eval(node.value))
                except ValueError:  # is computed: from what is not known here
                    found.append(None)
                if value is not None:
                    constant = ast.parse(repr(value), mode='eval').body
                    node.value = ast.copy_location(constant, node.value)
                    ast.fix_missing_locations(node)
            return super().visit_Assign(node)

    own = reader.RemoveAssignFromAST
    reader.RemoveAssignFromAST = Assign
    try:
        yield
    finally:
        reader.RemoveAssignFromAST = own


def _places(cfg: Config) -> Iterator[tuple[str, Any, str]]:
    """Yield where a segmentation config has the size of its crops: path, dict, key."""
    for path, step in typed(cfg.get('train_dataloader'), 'train_dataloader'):
        key = {'RandomCrop': CROP, 'Pad': 'size'}.get(str(step.get('type')).rpartition('.')[2])
        if key and step.get(key) is not None:
            yield f'{path}.{key}', step, key
    model = cfg.get('model')
    if not isinstance(model, Mapping):
        return
    for path, node, key in (
        ('model.data_preprocessor', model.get('data_preprocessor'), 'size'),
        ('model.test_cfg', model.get('test_cfg'), CROP),
    ):
        if isinstance(node, Mapping) and node.get(key) is not None:
            yield f'{path}.{key}', node, key


def _value(node: Mapping, key: str) -> Any:
    """Return a place's height and width."""
    value = node[key]
    if is_whole(value, 1):
        return value, value
    if not isinstance(value, list | tuple):
        return value
    # mmcv's Pad has the width first
    return tuple(value)[::-1] if node.get('type') == 'Pad' else tuple(value)


def _follow(cfg: Config, former: set[tuple], size: Size) -> None:
    """Change the places that are written out and have a former size."""
    for _, node, key in _places(cfg):
        old = _value(node, key)
        if old not in former:
            continue
        node[key] = size[::-1] if node.get('type') == 'Pad' else size
        stride = node.get('stride')
        if isinstance(stride, list | tuple) and len(stride) == 2:
            pairs = zip(stride, size, old, strict=True)
            node['stride'] = tuple(max(1, one * new // was) for one, new, was in pairs)


def check_crop(cfg: Config) -> None:
    """Warn of a place whose size differs from that of the crops that are trained on."""
    if cfg.get('default_scope') != 'mmseg':
        return
    places = [(path, node, _value(node, key)) for path, node, key in _places(cfg)]
    crops = {value for _, node, value in places if CROP in node and 'mode' not in node}
    if len(crops) != 1:
        return
    (size,) = crops
    for path, node, value in places:
        if value == size or ('mode' in node and node['mode'] != 'slide'):
            continue
        print_log(
            f'{path} is {value}, but crops of {size} are trained on: set both to one size, as with '
            f'{CROP}={size} in a config whose settings follow it',
            'current',
            logging.WARNING,
        )
