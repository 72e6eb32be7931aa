"""Folders of pictures: what a data set that lists one would trip over, or leave out in silence."""

import logging
import os
from collections.abc import Iterable, Iterator

from mmengine.logging import print_log

from ..errors import DataError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def check_entries(folder: str) -> None:
    """Check that all that is called as a picture, at any depth, is a file.

    mmengine leaves out what is none, and a link that leads to itself ends in a traceback.

    Raises:
        DataError: Something is a folder, or a link that leads nowhere or back; or a folder cannot
            be read.
    """
    try:
        found = next((e for e in _no_files(folder) if e.name.lower().endswith(SUFFIXES)), None)
    except OSError as error:
        raise DataError(
            f'{error.filename or folder} cannot be read ({error.strerror}): correct its rights, or '
            'data_root'
        ) from error
    if found is not None:
        what = 'a link to nothing' if found.is_symlink() else 'no file'
        if os.path.isdir(found.path):
            what = 'a folder'
        raise DataError(
            f'{found.path} is called as a picture and is {what}: put the picture there, or remove '
            'it'
        )


def check_class_folders(folder: str) -> None:
    """Check a folder that holds one folder of pictures for each class.

    Raises:
        DataError: It holds pictures alone, or a hidden folder, which would be a class.
    """
    with os.scandir(folder) as entries:
        names = {entry.name: entry.is_dir() for entry in entries}
    folders = sorted(name for name, is_folder in names.items() if is_folder)
    hidden = [name for name in folders if name.startswith('.') or name == '__MACOSX']
    if hidden:
        raise DataError(
            f'{os.path.join(folder, hidden[0])} is a hidden folder among those of the classes, and '
            'would be a class: remove it'
        )
    loose = sorted(name for name in names.keys() - folders if name.lower().endswith(SUFFIXES))
    if not loose:
        return
    first = os.path.join(folder, loose[0])
    if not folders:
        raise DataError(
            f'{len(loose)} pictures lie directly in {folder}, the first is {first}: put those of '
            'each class into a folder of its own, or give an ann_file that lists them'
        )
    print_log(
        f'{len(loose)} pictures lie directly in {folder}, in no folder of a class, and are left '
        f'out, the first is {first}',
        'current',
        logging.WARNING,
    )


def _no_files(folder: str, above: tuple[str, ...] = ()) -> Iterator[os.DirEntry]:
    """Yield what is no file, at any depth."""
    real = os.path.realpath(folder)
    if real in above:
        raise DataError(f'{folder} is a link to a folder that holds it: remove it')
    with os.scandir(folder) as entries:
        for entry in entries:
            # asking the entry of a link that leads to itself would raise
            if not (os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()):
                yield entry
                if os.path.isdir(entry.path):
                    yield from _no_files(entry.path, (*above, real))


def find_unnamed(folder: str, suffixes: str | tuple[str, ...], named: Iterable[str]) -> list[str]:
    """Find files in a folder, at any depth, that end so and that nothing names.

    Args:
        folder: The folder.
        suffixes: Endings; several are compared in small letters.
        named: Paths that are known.
    """
    known = set(map(os.path.normpath, named))
    found = (
        os.path.normpath(os.path.join(place, name))
        for place, _, names in os.walk(folder, followlinks=True)
        for name in names
        if (name if isinstance(suffixes, str) else name.lower()).endswith(suffixes)
    )
    return sorted(path for path in found if path not in known)
