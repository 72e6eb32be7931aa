"""Reads files of weights as data: tensors and plain containers, no code of the file's runs.

PyTorch's files are pickles, which may call any function when they are read. torch reads those of
tensors and plain containers safely (``weights_only``); here are the few more types that mmengine's,
timm's and the authors' files hold, and none else. mmengine itself reads anything where that does
not suffice, so its loader is replaced by this one, in every process in which weights of ours can be
loaded. ``docs/trust.md`` says what is promised.
"""

import argparse
import json
import os
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath
from pickle import UnpicklingError
from typing import IO, Any
from urllib.parse import urlparse

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.logging.history_buffer import HistoryBuffer
from safetensors.torch import load, load_file

TRUST = 'MMVIT_TRUST_CHECKPOINTS'
LEGACY = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19'  # the number that torch.save began with before zips
ZIP = b'PK\x03\x04'


class CheckpointFileError(ValueError):
    """A file that cannot be read as a checkpoint."""


def _named(name: str, function: Callable) -> Callable:
    """Let a function stand for the one that a file knows by a full name."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, stand_in.__qualname__ = name.rpartition('.')
    return stand_in


class _Settings:
    """Stands for yacs's ``CfgNode``, which need not be installed: its content is read plainly."""

    __module__ = 'yacs.config'

    def __new__(cls) -> OrderedDict:
        """Make what torch fills without running any code of the file's."""
        return OrderedDict()


_Settings.__name__ = _Settings.__qualname__ = 'CfgNode'


def _statistic(owner: object, name: str) -> Callable:
    """Look up what a log file's numbers are summed up with; pickles name it by ``getattr``."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'GLOBAL builtins.getattr of {name!r}')
    return getattr(HistoryBuffer, name)


# numpy 1 and numpy 2 name their inner parts differently, and read each other's files
_INNER = (np._core if hasattr(np, '_core') else np.core).multiarray
HARMLESS: list[Any] = [
    slice,
    argparse.Namespace,  # timm's scripts and the authors' keep the arguments of the run
    _Settings,  # the official Swin code its settings
    HistoryBuffer,  # mmengine its log
    _named('builtins.getattr', _statistic),
    _named('pathlib.PosixPath', PurePosixPath),
    _named('pathlib.WindowsPath', PureWindowsPath),
    np.ndarray,
    np.dtype,
    *sorted({type(np.dtype(code)) for code in np.typecodes['All'] if code != 'O'}, key=str),
    *(
        _named(f'numpy.{core}.multiarray.{name}', getattr(_INNER, name))
        for core in ('core', '_core')
        for name in ('scalar', '_reconstruct')
    ),
]


def load_plain(file: str | Path | IO[bytes], map_location: Any = None, name: str = '') -> Any:
    """Read a file of PyTorch's or safetensors', to what ``torch.load`` returns.

    Args:
        file: Its path, or a stream.
        map_location: As in ``torch.load``.
        name: What to call a stream.

    Returns:
        What was saved; of a safetensors file ``state_dict`` and ``meta``.

    Raises:
        CheckpointFileError: It is damaged, of another kind, or asks for other classes or functions.
            Setting the environment variable ``MMVIT_TRUST_CHECKPOINTS`` to 1 reads such a file all
            the same, which may run any code that its author put there.
    """
    name = name or (str(file) if isinstance(file, str | Path) else 'the checkpoint')
    trusted = os.environ.get(TRUST) == '1'
    if isinstance(file, str | Path):
        file = str(Path(file).expanduser())
        with open(file, 'rb') as stream:
            safe = _is_safetensors(stream, name, trusted)
    else:
        safe = _is_safetensors(file, name, trusted)
    if safe:
        return _read_safetensors(file, map_location, name)
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(file, map_location, weights_only=True)
    except UnpicklingError as error:
        asked = re.search(r'GLOBAL (\S+)|(?:function|class) (.+?) ', str(error))
        if trusted:
            message = f'{name}: {TRUST}=1, so it is unpickled with all that it asks for'
            print_log(message, 'current', 'WARNING')
            if not isinstance(file, str):
                file.seek(0)
            return torch.load(file, map_location, weights_only=False)
        if asked is None:
            raise damaged(name, error) from error
        raise CheckpointFileError(
            f'{name}: asks for {asked[1] or asked[2]} when it is read, where weights need tensors '
            'and plain containers only; such a file can run any code. If you trust who made it, '
            f'set the environment variable {TRUST}=1'
        ) from None
    except Exception as error:  # torch raises half a dozen types for what is no checkpoint
        raise damaged(name, error) from error


def damaged(name: str, error: Exception) -> CheckpointFileError:
    """Make the error that tells of a file that is none, or not whole."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return CheckpointFileError(
        f'{name}: not readable as a PyTorch checkpoint (truncated, or another kind of file): '
        f'{text[0][:200]}'
    )


def _is_safetensors(file: IO[bytes], name: str, trusted: bool) -> bool:
    """Tell safetensors from PyTorch's files by the content, and refuse all else.

    Raises:
        CheckpointFileError: It is neither, or a damaged archive.
    """
    head = file.read(64)
    size = file.seek(0, os.SEEK_END)
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= size - 8:
        file.seek(0)
        return True
    if head.startswith(ZIP):
        _check_archive(file, name, trusted)
    elif LEGACY not in head:
        begin = head[:16]
        what = 'empty' if not size else f'no PyTorch or safetensors file, it begins with {begin!r}'
        raise CheckpointFileError(f'{name}: the file is {what}: train or download it again')
    file.seek(0)
    return False


def _check_archive(file: IO[bytes], name: str, trusted: bool) -> None:
    """Refuse a zip that torch did not write, or that has changed since: torch does not look."""
    try:
        with zipfile.ZipFile(file) as archive:
            inside = {part.rpartition('/')[2] for part in archive.namelist()}
            if 'constants.pkl' in inside:
                raise CheckpointFileError(
                    f'{name}: a TorchScript program, where a file of weights (torch.save of a '
                    'state_dict) is needed'
                )
            if 'data.pkl' not in inside:
                raise CheckpointFileError(f'{name}: a zip archive, but none of PyTorch')
            wrong = None if trusted else archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise damaged(name, error) from error
    if wrong:
        raise CheckpointFileError(
            f'{name}: damaged, the checksum (CRC) of its part {wrong} is wrong: take another copy '
            'of it or an older checkpoint'
        )


def _read_safetensors(file: str | IO[bytes], map_location: Any, name: str) -> dict:
    """Read a safetensors file: weights, and what was written of ``meta``."""
    device = 'cpu' if map_location is None or callable(map_location) else map_location
    try:
        with open(file, 'rb') if isinstance(file, str) else nullcontext(file) as stream:
            length = int.from_bytes(stream.read(8), 'little')
            about = json.loads(stream.read(length)).get('__metadata__') or {}
            stream.seek(0)
            weights = load_file(file) if isinstance(file, str) else load(stream.read())
        meta = json.loads(about.get('meta', '{}'))
    except Exception as error:  # safetensors has an error of its own, of no base but Exception
        raise damaged(name, error) from error
    weights = {key: value.to(device) for key, value in weights.items()}
    return {'meta': meta if isinstance(meta, dict) else {}, 'state_dict': weights}


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Download a file once, as ``torch.hub.load_state_dict_from_url`` does, and read it plainly.

    Args:
        url: Its address.
        model_dir: Where downloads are kept; torch's cache by default.
        map_location: As in ``torch.load``.
        progress: Whether to show it.
        kwargs: ``file_name`` and ``check_hash``, as torch takes them.

    Raises:
        CheckpointFileError: It cannot be fetched, or as :func:`load_plain` does.
    """
    folder = Path(model_dir or Path(torch.hub.get_dir(), 'checkpoints'))
    file = folder / (kwargs.get('file_name') or Path(urlparse(url).path).name)
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        digits = torch.hub.HASH_REGEX.search(file.name) if kwargs.get('check_hash') else None
        try:
            torch.hub.download_url_to_file(url, str(file), digits and digits[1], progress)
        except (OSError, RuntimeError, ValueError) as error:  # no network, a wrong hash or address
            raise CheckpointFileError(f'{url}: cannot be fetched: {error}') from error
    return load_plain(file, map_location)


mmengine_checkpoint._safe_torch_load = load_plain
mmengine_checkpoint.load_url = load_url
