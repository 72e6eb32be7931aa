"""What a tool may write: no input, no result of another run unless it is told to."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import UserError


def check_outputs(
    files: Iterable[str | Path],
    inputs: Collection[str | Path | None] = (),
    overwrite: bool = False,
    folders: Iterable[str | Path] = (),
) -> None:
    """Refuse, before any work is done, what cannot be written or would be a loss.

    Args:
        files: What will be written.
        inputs: Files that are read, and folders all of whose files may be; what is not on local
            disks is left alone, and None.
        overwrite: Whether a file that is there may be replaced; an input never is.
        folders: What will be written into.

    Raises:
        UserError: An output is an input or lies in a folder of inputs, comes twice, cannot be
            written, or is there already.
    """
    read = {Path(path).resolve(): path for path in inputs if path and Path(path).exists()}
    places: dict[Path, Path] = {}  # folder as it is named -> as it is

    def place(folder: Path) -> Path:
        if folder not in places:
            places[folder] = folder.resolve()
            _check_folder(places[folder], folder)
            for source in {places[folder], *places[folder].parents} & read.keys():
                where = '' if source == places[folder] else f' lies in {read[source]}, which'
                raise UserError(
                    f'{folder}{where} is read, and would be written into: choose another place to '
                    'write to'
                )
        return places[folder]

    for folder in folders:
        place(Path(folder))
    seen = set()
    for file in map(Path, files):
        target = file.resolve() if file.is_symlink() else place(file.parent) / file.name
        if target in read:
            raise UserError(
                f'{file} is read, and would be written over: choose another place to write to'
            )
        if target in seen:
            raise UserError(
                f'{file} would be written twice: give two names, or rename one of two pictures '
                'that lead to it'
            )
        seen.add(target)
        if target.is_dir():
            raise UserError(f'{file} is a folder, and a file is to be written: give its name')
        if target.is_file() and not overwrite:
            raise UserError(
                f'{file} is there already: choose another place to write to, or replace it with '
                '--overwrite'
            )


def _check_folder(folder: Path, name: Path) -> None:
    """Refuse a folder that cannot be made, or written into."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UserError(
            f'{there} is a file, where the folder {name} is needed: choose another place to write '
            'to'
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(
            f'nothing can be written into {there}: correct its rights, or choose another place to '
            'write to'
        )
