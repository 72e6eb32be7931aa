"""Going through pictures: in batches, loaded and written beside computing by threads; one by one.

Threads are enough: decoding, resizing and compressing let others work meanwhile. Nothing has to be
copied between processes, and no shared memory can run out.
"""

import logging
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..errors import UserError
from ..writing import write_json
from .pictures import PREDICTIONS, UnreadableError

T = TypeVar('T')
LOADED = 2  # batches of pictures that may lie ready


class Work(Protocol):
    """What is done with pictures, in three steps."""

    def load(self, path: Path, name: str) -> Any:
        """Read a picture; runs in a thread. ``UnreadableError`` leaves it out."""

    def key(self, loaded: Any) -> Hashable:
        """Return what pictures of one batch have in common; None for one that goes alone.

        Only ``predict`` of one alone may raise ``UnreadableError``.
        """

    def predict(self, batch: list) -> list:
        """Predict loaded pictures, in the main thread."""

    def write(self, loaded: Any, found: Any) -> Any:
        """Write what was found, in a thread, one after the other; return an entry or None."""


class _Now(Executor):
    """Does at once what a pool would do later."""

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """Do it."""
        future: Future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as error:  # raised where the result is asked for, as of a pool
            future.set_exception(error)
        return future


@contextmanager
def open_pool(workers: int) -> Iterator[Executor]:
    """Yield threads, or with 0 what does the work at once; what has not begun is given up."""
    pool = ThreadPoolExecutor(workers) if workers else _Now()
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_ahead(
    pool: Executor, function: Callable[[T], Any], items: Iterable[T], count: int
) -> Iterator[tuple[T, Future]]:
    """Yield each item and the coming result, in order, while the next ``count`` are worked on."""
    waiting: deque[tuple[T, Future]] = deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > count:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


def for_each_batch(
    pictures: dict[str, Path], out: str | Path, work: Work, batch_size: int = 1, workers: int = 2
) -> None:
    """Predict pictures in batches of one shape, with a progress bar.

    A damaged picture is left out. What ``write`` returns goes into ``OUT/predictions.json`` in the
    order of the pictures; also when it is interrupted, for those that are done.

    Args:
        pictures: Names and files.
        out: The folder to write into.
        work: What is done with them.
        batch_size: How many are predicted at once. A batch that finds no others of its shape is
            smaller.
        workers: Threads that load; half as many, at least one, write. 0: all one by one.

    Raises:
        UserError: After all others: the pictures that could not be read.
    """
    bar = ProgressBar(len(pictures))
    unreadable: dict[str, str] = {}
    entries: dict[str, Future] = {}

    def skip(name: str, error: UnreadableError) -> None:
        unreadable[name] = str(error)
        bar.update()

    def finish(name: str, future: Future) -> None:
        try:
            future.result()
        except UnreadableError as error:
            skip(name, error)
        else:
            bar.update()

    def read(name: str) -> Any:
        return work.load(pictures[name], name)

    try:
        with open_pool(workers) as loaders, open_pool((workers + 1) // 2) as writers:
            batches = _gather(
                run_ahead(loaders, read, pictures, LOADED * batch_size if workers else 0),
                work.key,
                batch_size,
                skip,
            )
            writing: deque[tuple[str, Future]] = deque()
            for batch in batches:
                try:
                    found = work.predict([loaded for _, loaded in batch])
                except UnreadableError as error:  # of a picture that is read while it is predicted
                    skip(batch[0][0], error)
                    continue
                for (name, loaded), one in zip(batch, found, strict=True):
                    entries[name] = writers.submit(work.write, loaded, one)
                    writing.append((name, entries[name]))
                while len(writing) > (LOADED * batch_size if workers else 0):
                    finish(*writing.popleft())
            while writing:
                finish(*writing.popleft())
    finally:
        done = {name: _result(entries[name]) for name in pictures if name in entries}
        done = {name: entry for name, entry in done.items() if entry is not None}
        if done:
            write_json(done, Path(out, PREDICTIONS))
    for name, text in unreadable.items():
        text = f'{pictures[name]} is skipped: {text}'
        print_log(text, 'current', logging.WARNING)
    print_log(f'wrote {len(pictures) - len(unreadable)} pictures to {out}', 'current')
    if unreadable:
        first = [
            f'{pictures[name]} ({unreadable[name]})' for name in pictures if name in unreadable
        ]
        raise UserError(
            f'{len(unreadable)} of {len(pictures)} pictures could not be read: '
            f'{", ".join(first[:5])}; the others were written'
        )


def for_each_picture(
    pictures: dict[str, Path], out: str | Path, write: Callable[[Path, str], Any]
) -> None:
    """Hand pictures and their names to ``write``, one by one; else as :func:`for_each_batch`.

    Args:
        pictures: Names and files.
        out: The folder that is written into.
        write: Returns an entry of the predictions, or None; ``UnreadableError`` leaves one out.
    """
    for_each_batch(pictures, out, _Alone(write), workers=0)


class _Alone:
    """Work that does all of a picture at once."""

    def __init__(self, write: Callable[[Path, str], Any]) -> None:
        self._write = write

    def load(self, path: Path, name: str) -> tuple[Path, str]:
        """Hand on what there is."""
        return path, name

    def key(self, loaded: tuple[Path, str]) -> None:
        """Let it go alone."""

    def predict(self, batch: list[tuple[Path, str]]) -> list:
        """Do all."""
        return [self._write(*loaded) for loaded in batch]

    def write(self, loaded: tuple[Path, str], found: Any) -> Any:
        """Return the entry: the rest is done."""
        return found


def _gather(
    coming: Iterable[tuple[str, Future]],
    key: Callable[[Any], Hashable],
    size: int,
    skip: Callable[[str, UnreadableError], None],
) -> Iterator[list[tuple[str, Any]]]:
    """Put loaded pictures into batches of one key; those that wait longest go first."""
    waiting: dict[Hashable, list] = {}
    for name, future in coming:
        try:
            loaded = future.result()
        except UnreadableError as error:
            skip(name, error)
            continue
        kind = key(loaded)
        if kind is None:
            yield [(name, loaded)]
            continue
        waiting.setdefault(kind, []).append((name, loaded))
        if len(waiting[kind]) == size:
            yield waiting.pop(kind)
        elif sum(map(len, waiting.values())) > LOADED * size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _result(future: Future) -> Any:
    """Return what came of a picture, None if nothing did."""
    return None if future.cancelled() or future.exception() else future.result()
