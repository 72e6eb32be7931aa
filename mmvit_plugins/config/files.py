"""Reads a config file with mmengine; what is wrong with it is told with file, line and reason.

Config files in Python run code, by design. Those in YAML and JSON are data: a tag of YAML builds
nothing but tuples, which mmengine writes with one.
"""

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.config.config import BASE_KEY
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.fileio.handlers import YamlHandler
from mmengine.fileio.handlers.registry_utils import file_handlers

from ..environment import owners
from ..errors import UserError

FORMATS = ('.py', '.yaml', '.yml', '.json')
LARGEST = 100_000  # nodes that aliases may stand for; configs have some hundreds
EVALUATED = ('type', 'dtype', 'warp_mode', 'search_op')  # what mmcv and the hosts hand to eval
READERS = ('_file2dict', '_parse_lazy_import', '_is_lazy_import')  # mmengine's, one file each


def read_config(path: str) -> Config:
    """Read a config file and those that it names as ``_base_``.

    Raises:
        UserError: It cannot be read; names the file, its line where one is known, and the reason.
    """
    if Path(path).is_dir():
        raise UserError(f'the config {path} does not exist, there is a folder: give a file in it')
    if not Path(path).is_file():
        raise UserError(f'the config {path} does not exist')
    if Path(path).suffix not in FORMATS:
        raise UserError(f'{path} is no config file: give one that ends in {", ".join(FORMATS)}')
    try:
        # mmengine looks for the folder of mmsegmentation's configs under that name alone
        MODULE2PACKAGE.update((name, one) for name, one in owners() if name in MODULE2PACKAGE)
        with _yaml_as_data():
            return Config.fromfile(path)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_explain(error, path)) from error


class _DataLoader(yaml.SafeLoader):
    """Builds plain values and tuples, and refuses aliases that stand for more than fits."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        sizes: dict[int, int] = {}
        if node is not None and _count(node, sizes) > max(LARGEST, len(sizes)):
            raise yaml.YAMLError(f'its aliases stand for more than {LARGEST:,} values')
        return node

    def construct_tuple(self, node: yaml.Node) -> tuple:
        return tuple(self.construct_sequence(node, deep=True))


_DataLoader.add_constructor('tag:yaml.org,2002:python/tuple', _DataLoader.construct_tuple)


def _count(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Count the nodes below one, those of an alias as often as it is named."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise yaml.YAMLError('an alias stands for what it is part of')
        return sizes[id(node)]
    sizes[id(node)] = 0
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        parts = [part for pair in parts for part in pair]
    sizes[id(node)] = total = 1 + sum(_count(part, sizes) for part in parts)
    return total


class _DataHandler(YamlHandler):
    def load_from_fileobj(self, file: Any, **kwargs: object) -> Any:
        return yaml.load(file, _DataLoader)  # noqa: S506 - it is a SafeLoader


@contextmanager
def _yaml_as_data() -> Iterator[None]:
    """Let mmengine read YAML without building objects, which its own loader does."""
    own = {name: file_handlers[name] for name in ('yaml', 'yml')}
    file_handlers.update(dict.fromkeys(own, _DataHandler()))
    try:
        yield
    finally:
        file_handlers.update(own)


def _explain(error: Exception, path: str) -> str:
    """Say what is wrong, in which of the files, and where."""
    frames = list(traceback.walk_tb(error.__traceback__))
    # as they were read: the config, the base that it names, the base's base
    read = [f.f_locals['filename'] for f, _ in frames if f.f_code.co_name in READERS]
    files = list(dict.fromkeys(read)) or [path]
    if isinstance(error, RecursionError) and len(read) > 2 * len(files):
        return f'{path}: its _base_ files go in a circle: {" -> ".join([*files, files[0]])}'
    at, text = files[-1], one_line(error)
    if isinstance(error, SyntaxError):
        # mmengine raises it anew, with the text of the first
        cause = error if error.lineno else error.__context__ or error
        line = getattr(cause, 'lineno', None)
        known = getattr(cause, 'filename', None) or ''
        at = known if Path(known).is_file() else at  # a module that the config imports
        return f'{at}{f", line {line}" if line else ""}: {getattr(cause, "msg", text)}'
    if isinstance(error, UnicodeDecodeError):
        return f'{at} is no text in UTF-8 (byte {error.start}): save it as UTF-8'
    if isinstance(error, yaml.YAMLError):
        return f'{at}{_yaml_place(error)}: {_yaml_reason(error)}'
    if isinstance(error, OSError):
        missing = error.filename or text.partition('"')[2].rpartition('"')[0]
        if isinstance(error, FileNotFoundError) and len(files) > 1 and Path(missing) == Path(at):
            return f'{files[-2]}: its _base_ {missing} does not exist'
        return f'{at}: {text}'
    if text.startswith('Duplicate key is not allowed among bases'):
        names = text.partition('{')[2].rstrip('}')
        return f'{at}: more than one of its _base_ files set {names}; only one of them may'
    if text.startswith('Failed to import custom modules'):
        return f'{path}: custom_imports: {one_line(error.__cause__ or error)}'
    if isinstance(error, JSONDecodeError):
        return f'{at}, line {error.lineno}: {error.msg}'
    own = [line for frame, line in frames if frame.f_code.co_filename == at]
    if own and Path(at).suffix == '.py':
        return f'{at}, line {own[-1]}: {type(error).__name__}: {text}'
    if Path(at).suffix != '.py' and isinstance(error, AttributeError | TypeError):
        return f'{at} holds no settings: write them as name: value'
    told = isinstance(error, LookupError | RuntimeError | TypeError | ValueError)
    return f'{at}: {text}' if told else f'{at}: {type(error).__name__}: {text}'


def check_texts(node: Any, path: str = '') -> None:
    """Refuse a program where the hosts evaluate a text as a name, as the ``type`` of an NMS.

    Raises:
        UserError: Names the setting.
    """
    if isinstance(node, Mapping):
        parts: Any = node.items()
    else:
        parts = enumerate(node) if isinstance(node, list | tuple) else ()
    for key, part in parts:
        place = f'{path}.{key}' if path else str(key)
        if key in EVALUATED and isinstance(part, str) and not re.fullmatch(r'[\w.:+/ -]*', part):
            raise UserError(f'{place}={part!r}: give a name, a program is not run')
        check_texts(part, place)


def is_variable(cfg: Config, key: str) -> bool:
    """Tell whether the config's files make other settings from one at their top."""
    code = re.sub(r'#.*', '', cfg.text)
    return bool(re.search(rf'(?<![\w.\'"]){key}\b(?!\s*=[^=])|\b{BASE_KEY}\.{key}\b', code))


def one_line(error: BaseException) -> str:
    """Return an error's text without line breaks, and without the quotes of a KeyError."""
    plain = isinstance(error, KeyError) and len(error.args) == 1
    text = ' '.join(str(error.args[0] if plain else error).split())
    return text if len(text) <= 400 else f'{text[:400]} ...'


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, 'problem_mark', None)
    return f', line {mark.line + 1}' if mark else ''


def _yaml_reason(error: yaml.YAMLError) -> str:
    reason = getattr(error, 'problem', None) or one_line(error)
    if 'tag:yaml.org,2002:python/' in reason:
        tag = reason.rpartition('python/')[2].rstrip("'")
        return (
            f'the tag !!python/{tag} builds objects, and a config in YAML is data: leave it out, '
            'or write the config in Python'
        )
    return reason
