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
    with replacing(path, sync) as part:
        part.write_bytes(data)


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
            with open(part, 'rb+') as file:
                os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    if sync:
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power failure, where the system lets folders be opened."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
