"""Arrays that may be larger than the memory."""

import mmap
import os
import tempfile
from math import prod
from pathlib import Path

import numpy as np

IN_MEMORY = 256 << 20  # bytes; a larger array lies in a nameless file


class Store:
    """An array, in memory or in a temporary file, which goes with it.

    Args:
        shape: Its shape.
        kind: Its type, as ``'float16'``.
        folder: Where the file may lie, made where needed; the system's place by default.

    Attributes:
        array: The array.

    Raises:
        OSError: The disk has no room.
    """

    def __init__(self, shape: tuple[int, ...], kind: str, folder: str | Path | None = None) -> None:
        self.mapped: mmap.mmap | None = None
        size = np.dtype(kind).itemsize * prod(shape)
        if size <= IN_MEMORY:
            self.array = np.zeros(shape, kind)
            return
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, 'posix_fallocate'):  # a page without room would end the process
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            self.mapped = mmap.mmap(file.fileno(), size)
        self.array = np.frombuffer(self.mapped, kind).reshape(shape)

    def release(self) -> None:
        """Give back the memory of what was read and written; it is in the file."""
        if self.mapped is not None and hasattr(self.mapped, 'madvise'):
            self.mapped.madvise(mmap.MADV_DONTNEED)
