"""The folder of a run: whose it is, what lies in it, and what must not come to lie in it."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process

from ..datasets.wrappers import leaf_configs
from ..engine.storage import LAST
from ..errors import UserError
from .outputs import check_outputs

try:
    import fcntl
except ImportError:  # not on Windows, where runs are not kept apart
    fcntl = None  # type: ignore[assignment]

DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
LOCK = 'run.lock'
_locks: dict[Path, IO] = {}  # open as long as the process lives


def claim_work_dir(
    cfg: Config,
    anew: bool = False,
    lock: bool = False,
    files: Collection[str | Path] = (),
    folders: Collection[str | Path] = (),
    overwrite: bool = False,
) -> None:
    """Refuse, in all processes, to write where that would be a loss; make the run's folder.

    Args:
        cfg: Of the run, with its ``work_dir``.
        anew: Whether it is a training that starts from the beginning.
        lock: Whether no other run may have the same folder meanwhile.
        files: What will be written besides.
        folders: What will be written into besides.
        overwrite: Whether files that are there may be replaced.

    Raises:
        UserError: As :func:`check_outputs`, with config, data and checkpoint as inputs; or the work
            folder is that of the config, of the data, of another run that goes on, or, for a
            training anew, of one that has left checkpoints.
    """
    found: list[Exception | None] = [None]
    if is_main_process():
        try:
            places = [Path(cfg.work_dir), *map(Path, folders)]
            roots, inputs = set(), [cfg.filename] if cfg.filename else []
            for root, parts in _data_places(cfg):
                roots |= {Path(root).resolve()} if root else set()
                inputs += parts
            inputs += [cfg.load_from] if isinstance(cfg.get('load_from'), str) else []
            check_outputs(files, [*filter(_is_apart, inputs)], overwrite, places)
            for place in places:
                if place.resolve() in roots:
                    raise UserError(
                        f'{place} is the folder of the data: choose another place to write to'
                    )
            if cfg.filename:
                _check_config(Path(cfg.filename), places[0])
            places[0].mkdir(parents=True, exist_ok=True)
            if lock:
                lock_folder(places[0])
            if anew:
                _check_former(places[0])
        except (UserError, OSError) as error:
            found = [error]
    broadcast_object_list(found)
    if found[0]:
        raise found[0]


def lock_folder(folder: Path) -> None:
    """Keep a folder for this process until it ends, however it ends.

    The lock belongs to the process alone: a loader's worker that outlives it does not hold it.

    Raises:
        UserError: Another process has it.
    """
    path = (folder / LOCK).resolve()
    if fcntl is None or path in _locks:
        return
    file = open(path, 'a+')  # noqa: SIM115
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not isinstance(error, BlockingIOError | PermissionError):
            file.close()  # a disk of another machine may have no locks
            return
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise UserError(
            f'another run writes into {folder}{owner and f" ({owner})"}: wait for its end, or '
            'choose another --work-dir'
        ) from error
    file.truncate(0)
    file.write(f'process {os.getpid()} on {os.uname().nodename}')
    file.flush()
    _locks[path] = file


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the first file in a folder, at any depth, if there is one."""
    yield from islice((path for path in folder.rglob('*') if path.is_file()), 1)


def unique_folder(parent: str | Path, name: str) -> str:
    """Make a folder that was not there, and return its name: that given, or with a number."""
    names = [name]
    if is_main_process():
        number = 1
        while True:
            try:
                Path(parent, names[0]).mkdir()
                break
            except FileExistsError:
                number += 1
                names = [f'{name}_{number}']
    broadcast_object_list(names)
    return names[0]


def checkpoints_in(folder: Path) -> list[Path]:
    """List what a training has left in a folder to go on from."""
    names = re.compile(r'(iter|epoch|best_.*)_\d+\.pth|' + LAST)
    return sorted(path for path in folder.glob('*') if names.fullmatch(path.name))


def _check_former(folder: Path) -> None:
    former = checkpoints_in(folder)
    if former:
        raise UserError(
            f'{folder} holds checkpoints of another run, as {former[0].name}: go on from them with '
            '--resume, or choose another --work-dir'
        )


def _check_config(config: Path, work_dir: Path) -> None:
    """Refuse the config's folder, into which a run would write a copy of it, unless a run did."""
    a_runs = any(work_dir.glob('*/vis_data/config.py'))
    if config.parent.resolve() == work_dir.resolve() and not a_runs:
        raise UserError(
            f'the work folder {work_dir} is that of the config {config}, which would be written '
            'over: choose another --work-dir'
        )


def _data_places(cfg: Config) -> Iterator[tuple[str, list[str]]]:
    """Yield ``data_root`` of each data set, and the files and folders that it reads below it."""
    for name in DATALOADERS:
        for leaf in leaf_configs(cfg.get(name) or {}):
            root, prefix = leaf.get('data_root') or '', leaf.get('data_prefix') or ''
            folders = list(prefix.values()) if isinstance(prefix, Mapping) else [prefix]
            parts = [*folders, leaf.get('ann_file')]
            parts = [part for part in parts if isinstance(part, str) and part] or [root]
            yield root, [os.path.join(root, part) for part in parts]


def _is_apart(path: str) -> bool:
    """Tell whether a place is something else than where the user works, where all may lie."""
    here = Path.cwd()
    return Path(path).resolve() not in (here, *here.parents)
