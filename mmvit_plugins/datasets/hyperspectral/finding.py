"""Finding the files of a scene: what is given goes before what is known of it."""

from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from .catalogue import SCENES
from .reading import list_variables

Source = str | Path | Sequence  # a path, or (path, variable)


def find_sources(
    name: str | None, root: Path, given: dict[str, Source | None]
) -> dict[str, tuple[Path, str | None]]:
    """Find the file and variable of each kind.

    Args:
        name: Key of ``SCENES``, None for own files.
        root: The folder of the scenes.
        given: For ``image``, ``labels``, ``train_labels`` and ``test_labels`` what the user gave.

    Raises:
        DataError: A file is missing.
    """
    folders = [root, *_own_folders(name, root)]
    sources = {}
    for kind, source in given.items():
        if source is not None:
            sources[kind] = _locate(kind, source, folders)
    info = SCENES.get(name)
    if info is None:
        return sources
    for kind in given:
        if kind not in sources:
            found = _first_known(getattr(info, kind), folders)
            if found:
                sources[kind] = found
    needed = {'image': 'cube', 'labels': 'label map'}
    if {'train_labels', 'test_labels'} <= sources.keys():
        del needed['labels']
    for kind in (kind for kind in needed if kind not in sources):
        candidates = getattr(info, kind)
        paths = (_look_up(file, folders) for file, _ in candidates)
        # a file of the right name will do, whatever its variable is called
        path = next((path for path in paths if path), None)
        if path is None:
            files = ' or '.join(dict.fromkeys(file for file, _ in candidates))
            raise DataError(
                f'the {needed[kind]} of {info.title} is missing: {files} is looked for in '
                f'{" and ".join(map(str, folders))}; the public page is called "{info.page}", put '
                'the file there or set data_root'
            )
        sources[kind] = path, None
    return sources


def _first_known(
    candidates: Sequence[tuple[str, str]], folders: Sequence[Path]
) -> tuple[Path, str] | None:
    for file, variable in candidates:
        path = _look_up(file, folders)
        if path is not None and variable in list_variables(path):
            return path, variable
    return None


def _locate(kind: str, source: Source, folders: Sequence[Path]) -> tuple[Path, str | None]:
    """Turn what the user gives into a path that exists and a variable."""
    if isinstance(source, str | Path):
        source = source, None
    pair = isinstance(source, Sequence) and len(source) == 2
    if not pair or not isinstance(source[0], str | Path):
        raise DataError(f'{kind} must be a file or (file, variable), not {source}')
    path, variable = Path(source[0]), source[1]
    found = path if path.is_file() else _look_up(path, folders)
    if found is None:
        places = ' and '.join(map(str, folders))
        raise DataError(f'there is no file {path} for {kind}, nor is it in {places}: correct it')
    return found, variable


def _own_folders(name: str | None, root: Path) -> list[Path]:
    """Return the folders in root that are called as the scene is."""
    if name is None or not root.is_dir():
        return []
    plain = name.replace('-', '_')
    return [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and folder.name.lower().replace('-', '_') == plain
    ]


def _look_up(file: str | Path, folders: Sequence[Path]) -> Path | None:
    """Find a file in the first folder that has it, ignoring case where the exact name is absent."""
    for folder in folders:
        exact = folder / file
        if exact.is_file():
            return exact
        if exact.parent.is_dir():
            for path in sorted(exact.parent.iterdir()):
                if path.name.lower() == exact.name.lower() and path.is_file():
                    return path
    return None
