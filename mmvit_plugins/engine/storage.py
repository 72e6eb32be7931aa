"""Files that are either completely written or not there, and finding what to resume from."""

import json
import logging
import os
import re
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..checkpoint import CheckpointFileError, read_checkpoint

LAST = 'last_checkpoint'  # mmengine's file that names the newest checkpoint


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """A local folder in which a file appears, or is replaced, only once it is completely on disk.

    Take it in a config as ``backend_args=dict(backend='atomic')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; whatever interrupts it leaves the former file as it was.

        Raises:
            OSError: As the system says it, with the name of the file.
        """
        target = Path(filepath)
        target.parent.mkdir(parents=True, exist_ok=True)
        # One name for each target: what a killed process left is overwritten by the next attempt.
        part = target.with_name(f'.{target.name}.part')
        try:
            with open(part, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except BaseException as error:
            part.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise OSError(error.errno, error.strerror, str(target)) from error
            raise
        _sync_folder(target.parent)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as ``put`` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def write_json(data: dict, path: Path) -> None:
    """Write plain data; the file is there once it is complete."""
    AtomicBackend().put_text(json.dumps(data, indent=1) + '\n', path)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power failure, where the system lets folders be opened."""
    if os.name == 'posix':
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def find_checkpoint(work_dir: str | Path) -> str | None:
    """Find the newest complete checkpoint of a training.

    The file that ``last_checkpoint`` names, else the readable ``iter_*.pth`` or ``epoch_*.pth`` of
    the highest number, in the same folder or in ``work_dir``; None if there is none.
    """
    work_dir = Path(work_dir)
    note = work_dir / LAST
    named = Path(note.read_text().strip()) if note.is_file() else None
    folders = {work_dir, named.parent} if named and named.name else {work_dir}
    numbered = [
        (int(match[1]), path.stat().st_mtime, path)
        for folder in folders
        for path in folder.glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    candidates = [path for _, _, path in sorted(numbered, reverse=True)]
    if named and named.name:
        # A work directory that was moved keeps its checkpoints beside the note.
        candidates = [named if named.exists() else work_dir / named.name, *candidates]
    for path in dict.fromkeys(candidates):
        try:
            read_checkpoint(str(path))
        except CheckpointFileError as error:
            print_log(f'{error}; looking for an older one', 'current', logging.WARNING)
        else:
            return str(path)
    return None
