"""Files that are either completely written or not there, and finding what to resume from."""

import logging
import re
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

from ..checkpoint import CheckpointFileError, read_checkpoint
from ..writing import write_bytes

LAST = 'last_checkpoint'  # mmengine's file that names the newest checkpoint


@register_backend('atomic', force=True)
class AtomicBackend(LocalBackend):
    """A local folder in which a file appears, or is replaced, only once it is completely on disk.

    Take it in a config as ``backend_args=dict(backend='atomic')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes with :func:`mmvit_plugins.writing.write_bytes`."""
        write_bytes(obj, filepath)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text as ``put`` writes bytes."""
        self.put(obj.encode(encoding), filepath)


def find_checkpoint(work_dir: str | Path) -> str | None:
    """Find the newest complete checkpoint of a training.

    The file that ``last_checkpoint`` names, else the readable ``iter_*.pth`` or ``epoch_*.pth`` of
    the highest number, in the same folder or in ``work_dir``; None if there is none.

    Raises:
        CheckpointFileError: There are some, and none of them can be read.
    """
    work_dir = Path(work_dir)
    note = work_dir / LAST
    text = note.read_bytes().decode(errors='replace').strip() if note.is_file() else ''
    named = Path(text) if text.isprintable() else None
    folders = {work_dir, named.parent} if named and named.name else {work_dir}
    numbered = [
        (int(match[1]), path.stat().st_mtime, path)
        for folder in folders
        for path in folder.glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    ]
    candidates = [path for _, _, path in sorted(numbered, reverse=True)]
    if named and named.name:
        # A work directory that was moved or copied keeps its checkpoints beside the note.
        candidates = [work_dir / named.name, named, *candidates]
    candidates = [path for path in dict.fromkeys(candidates) if path.is_file()]
    for path in candidates:
        try:
            read_checkpoint(str(path))
        except CheckpointFileError as error:
            print_log(f'{error}; looking for an older one', 'current', logging.WARNING)
        else:
            return str(path)
    if candidates:
        raise CheckpointFileError(
            f'none of the {len(candidates)} checkpoints of {work_dir} can be read, as said above: '
            'give another --work-dir to train from the beginning, or --resume FILE'
        )
    return None
