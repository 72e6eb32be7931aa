"""What the arguments of data sets may be, where a host or numpy would end in a traceback."""

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from ..errors import DataError


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def _is_number(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


# name -> what it may be, if it is given
FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    'data_root': ('a folder', lambda value: isinstance(value, str | os.PathLike)),
    'data_prefix': (
        'a folder, or a dict of folders',
        lambda value: isinstance(value, str | Mapping),
    ),
    'metainfo': ('a dict', _is_dict),
    'filter_cfg': ('a dict', _is_dict),
    'split_cfg': ('a dict', _is_dict),
    'label_map': ('a dict of old and new numbers', _is_dict),
    'pipeline': (
        'a list of transforms, each a dict or callable',
        lambda value: _is_list(value) and all(_is_dict(x) or callable(x) for x in value),
    ),
    'indices': (
        'a whole number, or a list of them',
        lambda value: _is_number(value) or (_is_list(value) and all(map(_is_number, value))),
    ),
    'classes': (
        "names, as ('one', 'two')",
        lambda value: _is_list(value) and all(isinstance(name, str) for name in value),
    ),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse arguments of another form than ``FORMS`` says; None stands for what is not given.

    Raises:
        DataError: Names the argument and what it may be.
    """
    for name, value in settings.items():
        what, fits = FORMS[name]
        if value is not None and not fits(value):
            raise DataError(f'{name} is {value!r}: give {what}')
    check_class_names((settings.get('metainfo') or {}).get('classes'))


def check_class_names(classes: Any) -> None:
    """Refuse a text for names, of which each letter would be a class.

    Args:
        classes: Of ``metainfo``: None, names, or the file that mmengine reads them from.

    Raises:
        DataError: They are none of these.
    """
    if isinstance(classes, str) and not os.path.isfile(classes):
        raise DataError(
            f'metainfo has classes={classes!r}, which is no list of names and no file: give names '
            "as ('one', 'two'), or a file that has one in each line"
        )
    if classes is not None and not isinstance(classes, str | Sequence):
        raise DataError(f'metainfo has classes={classes!r}: give a list of names')
