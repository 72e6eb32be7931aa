"""Names that stand inside of data files, and must not lead out of the folders that a user gave."""

import os
from collections.abc import Iterable, Sequence

from ..errors import DataError


def check_inside(paths: Iterable[str], folders: Sequence[str], source: str) -> None:
    """Refuse files that a data file names outside of the folders that are the data's.

    Only names are judged, as they are written: where a link on the disk leads, its owner chose.

    Args:
        paths: What is named, joined to the folder that it is relative to.
        folders: Where files may lie, at any depth; none where no other file may be named.
        source: What names them, in words.

    Raises:
        DataError: A path leads out, by ``..``, as an absolute one or as an URL.
    """
    remote = tuple(folder for folder in folders if '://' in folder)
    plain = tuple(os.path.join(folder, '') for folder in folders)
    whole = tuple(os.path.join(os.path.abspath(folder), '') for folder in folders)

    def leads_out(path: str) -> bool:
        if '\0' in path or ('://' in path and not path.startswith(remote)):
            return True
        if '..' not in path and path.startswith(plain):  # most, and a million of them are fast
            return False
        return not os.path.abspath(path).startswith(whole)

    outside = list(filter(leads_out, paths))
    if outside:
        allowed = f'outside of {" and ".join(folders)}' if folders else 'another file'
        cure = (
            'write them relative to that folder, or set data_root to one that holds all'
            if folders
            else 'save the numbers in the file itself'
        )
        raise DataError(
            f'{source} names {len(outside)} files that lead out of the data, the first is '
            f'{outside[0]!r}, {allowed}: {cure}'
        )
