"""Errors that are the user's to repair, and how the tools show them: one sentence, no traceback."""

import errno
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parent
SHOWN = 10  # names in a message

# What a system says of a file -> what to do about it
ROOM = 'make room, or choose another place'
CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM), 'correct its rights, or choose another place'),
    errno.EROFS: 'choose another place',
    errno.ENOTDIR: 'a part of its path is a file, correct it',
    errno.EEXIST: 'it is a file where a folder is needed, choose another place',
    errno.EISDIR: 'give a file',
    errno.ENAMETOOLONG: 'give a shorter one',
}
NO_SHARED_MEMORY = 74  # exit code of a process that loads data
# Words of torch, NumPy and OpenCV -> what happened, and what to do about it
SHARED = (
    'the processes that load data ran out of shared memory (/dev/shm): enlarge it (docker run '
    '--shm-size=8g), or set num_workers=0 in the data loaders'
)
MEMORY = (
    'the memory is not enough ({}): take a smaller batch_size, picture or window, fewer '
    'num_workers, or a machine with more memory'
)
SHORTAGES = {
    'killed by signal: Bus error': SHARED,
    f'exited unexpectedly with exit code {NO_SHARED_MEMORY}': SHARED,
    'shared memory': SHARED,
    'unable to write to file </torch_': SHARED,
    'killed by signal: Killed': MEMORY,
    'out of memory': MEMORY,
    'not enough memory': MEMORY,
    "can't allocate memory": MEMORY,
    'Cannot allocate memory': MEMORY,
    'Unable to allocate': MEMORY,
    'Insufficient memory': MEMORY,
}


def listed(names: Iterable[Any], write: Callable[[Any], str] = str) -> str:
    """Write some names, and how many more there are."""
    names = [write(name) for name in names]
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


class UserError(ValueError):
    """Says in one sentence what came, what is allowed and how to repair it."""


class DataError(ValueError):
    """Data that cannot be trained on; names the file or folder and how to repair it."""


def run_tool(main: Callable[[], None]) -> None:
    """Run a command; a user's error ends it with ``error: <sentence>`` and exit code 2.

    Errors of the program keep their traceback. ``MMVIT_TRACEBACK=1`` shows every traceback.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('interrupted')
    except Exception as error:
        message = sentence(error)
        if message is None or os.environ.get('MMVIT_TRACEBACK') == '1':
            raise
        print(f'error: {message}', file=sys.stderr)  # noqa: T201
        sys.exit(2)


def sentence(error: Exception) -> str | None:
    """Return what to tell the user about an error, None if it is the program's."""
    text = str(error)
    in_worker = 'Original Traceback (most recent call last)' in text
    if in_worker:  # a loader's worker sends its traceback as text; the last entry is the message
        text = text.rsplit('Error: ', 1)[-1].strip()
    if isinstance(error, FileNotFoundError):
        return f'no such file or folder: {error.filename}' if error.filename else text
    if shortage := _shortage(error, text):
        return shortage
    if isinstance(error, OSError) and error.errno in CURES:
        cure, name = CURES[error.errno], error.filename or _written(error)
        if name or cure == ROOM:
            return f'{name}{name and ": "}{error.strerror}; {cure}'
    if isinstance(error, AssertionError) and is_undecoded(text):
        return f'{text}; the file is no picture or is damaged: replace it or leave it out'
    # OpenCV and Pillow name no file
    undecoded = ('imdecode', 'cannot identify image file', 'image file is truncated')
    if any(words in text for words in undecoded) and not isinstance(error, UserError | DataError):
        return (
            'a picture or label map cannot be decoded, as it is empty, damaged or cut off: '
            'DataCheckHook(complete=True) in custom_hooks finds which'
        )
    if type(error).__module__.startswith('mmvit_plugins'):
        return text
    if isinstance(error, ValueError | ImportError) and (in_worker or _raised_by_us(error)):
        return text
    return None


def is_undecoded(text: str) -> bool:
    """Tell from an error's words whether mmcv got nothing out of a picture.

    It asserts that it did; with ``PYTHONOPTIMIZE``, an attribute of ``None`` is missing instead.
    """
    return text.startswith(('failed to load image', "'NoneType' object has no attribute"))


def _written(error: OSError) -> str:
    """Name the file that was open where an error came up without a name, as of a full disk."""
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        for value in frame.f_locals.values():
            name = getattr(value, 'name', None)
            if isinstance(value, io.IOBase) and isinstance(name, str) and name[:1] != '<':
                return name
    return ''


def _shortage(error: Exception, text: str) -> str | None:
    """Say what to do about memory that ran out, None if that is not what happened."""
    if isinstance(error, MemoryError):
        return MEMORY.format(text or 'MemoryError')
    if isinstance(error, RuntimeError | OSError) or type(error).__module__ == 'cv2':
        for words, cure in SHORTAGES.items():
            if words in f'{text} {error.__cause__}':
                return cure.format(text.splitlines()[0])
    return None


def _raised_by_us(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(PACKAGE)
