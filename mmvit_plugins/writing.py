"""Writes files that are either completely there or not at all."""

import json
import os
from pathlib import Path


def write_bytes(data: bytes, path: str | Path) -> None:
    """Write a file beside its place and put it there once it is completely on disk.

    Whatever interrupts it leaves the former file as it was. Folders are made where needed.

    Raises:
        OSError: As the system says it, with the name of the file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # One name for each target: what a killed process left is overwritten by the next attempt.
    part = target.with_name(f'.{target.name}.part')
    try:
        with open(part, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    _sync_folder(target.parent)


def write_json(data: dict | list, path: str | Path) -> None:
    """Write plain data, as ``write_bytes`` does."""
    write_bytes((json.dumps(data, indent=1) + '\n').encode(), path)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power failure, where the system lets folders be opened."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
