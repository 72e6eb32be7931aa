"""Writes files that are either completely there or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes(data: bytes, path: str | Path, sync: bool = True) -> None:
    """Write a file beside its place and put it there once it is completely on disk.

    Whatever interrupts it leaves the former file as it was. Folders are made where needed.

    Args:
        data: What will be in it.
        path: The file.
        sync: Wait for the disk, some milliseconds; without, a failure of the power may still take
            what was written last. For thousands of files that can be made again.

    Raises:
        OSError: As the system says it, with the name of the file.
    """
    with replacing(path, sync) as part, open(part, 'wb') as file:
        file.write(data)


def write_json(data: dict | list, path: str | Path) -> None:
    """Write plain data, as ``write_bytes`` does."""
    write_bytes((json.dumps(data, indent=1) + '\n').encode(), path)


@contextmanager
def replacing(path: str | Path, sync: bool = True) -> Iterator[Path]:
    """Yield where to write a file that is too large for the memory, then put it into its place.

    Raises:
        OSError: As the system says it, with the name of the file.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        yield Path(path)  # a device or pipe: nothing is there that could be lost
        return
    target = Path(os.path.realpath(path))  # a link stays one
    target.parent.mkdir(parents=True, exist_ok=True)
    # One name for each target: what a killed process left is overwritten by the next attempt. A
    # name may have 255 bytes.
    part = target.with_name(os.fsdecode(os.fsencode(f'.{target.name}')[:250]) + '.part')
    try:
        yield part
        if sync:
            _sync(part, os.O_RDWR)
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if sync and os.name == 'posix':  # where a folder can be opened: the renaming lasts too
        _sync(target.parent, os.O_RDONLY)


def _sync(path: Path, mode: int) -> None:
    """Wait until a file or folder would last through a failure of the power."""
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
