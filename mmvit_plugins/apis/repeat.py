"""The same experiment with several seeds: train, test, and the mean and deviation of the scores."""

import csv
import ctypes
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ..analysis.table import markdown_table
from ..config import TEST, TRAIN, VALIDATE, check_training, load_config
from ..datasets.wrappers import leaf_configs
from ..engine.hyperspectral import NAMES, SCORES, TRAINING
from ..engine.storage import find_checkpoint
from ..errors import UserError
from ..writing import write_bytes, write_json
from .outputs import check_outputs
from .work_dir import checkpoints_in, lock_folder

TABLE = 'scores.csv'
LAST = ('val_OA', 'train_seconds', 'test_seconds')  # columns after the classes
LIBC: Any = ctypes.CDLL(None) if sys.platform == 'linux' else None  # Linux alone has prctl
PR_SET_PDEATHSIG = 1
LOG_LINES = 6  # of a seed that failed


class SeedError(RuntimeError):
    """A training or test of one seed failed; says where its log is and how that ends."""


def parse_seeds(text: str) -> list[int]:
    """Read seeds as ``0-9`` or ``0,2,5-7``.

    Raises:
        UserError: That is no list of seeds, a range is empty, or a seed comes twice.
    """
    seeds: list[int] = []
    for part in text.split(','):
        match = re.fullmatch(r'(\d+)(?:-(\d+))?', part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UserError(
                f'the seeds {text!r} cannot be read at {part.strip()!r}: give whole numbers from 0 '
                'and ranges that go up, as 0-9 or 0,2,5-7'
            )
        seeds.extend(range(first, last + 1))
    if len(set(seeds)) < len(seeds):
        raise UserError(f'the seeds {text!r} name a seed twice: give each once')
    return seeds


def repeat(
    config: str,
    seeds: Sequence[int],
    tools: Path,
    jobs: int = 1,
    work_dir: str | None = None,
    cfg_options: dict | None = None,
    overwrite: bool = False,
) -> bool:
    """Train and test a config with each seed, and write mean and standard deviation of the scores.

    A seed sets ``randomness.seed`` and every data set's ``split_cfg.seed``. Its config is written
    to ``WORK/seed_N.py`` and its run to ``WORK/seed_N``; tested is the best checkpoint if the
    config saves one, else the last. Seeds that have their scores are not run again; one that fails
    is reported and the others go on. ``scores.csv`` in WORK gets a row for each seed,
    ``scores.json`` the summary.

    Args:
        config: The config file; its custom hooks include ``HyperspectralHook``.
        seeds: Whole numbers.
        tools: The folder of ``train.py`` and ``test.py``.
        jobs: How many seeds run at a time; each may use as many threads as there are cores for it,
            unless the environment sets ``OMP_NUM_THREADS``.
        work_dir: The folder to write into; by default ``./work_dirs/CONFIG_repeat``.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether the summary of something else may be replaced.

    Returns:
        Whether all seeds have scores.

    Raises:
        UserError: Nothing can be repeated, or the work folder holds scores of other settings, or is
            written into by another run.
    """
    if jobs < 1:
        raise UserError(f'--jobs {jobs}: give 1 or more')
    cfg = load_config(config, cfg_options, {*TRAIN, *VALIDATE, *TEST})
    texts = {seed: seeded(cfg, seed, config).pretty_text for seed in seeds}
    _check_config(cfg, config)
    check_training(cfg)
    work = Path(work_dir or f'./work_dirs/{Path(config).stem}_repeat')
    a_repetition = any(work.glob('seed_*.py'))
    files = [work / SCORES, work / TABLE]
    check_outputs(files, [config], overwrite or a_repetition)
    open_seeds = _open_seeds(texts, work)
    work.mkdir(parents=True, exist_ok=True)
    lock_folder(work)
    if len(open_seeds) < len(seeds):
        done = [str(seed) for seed in seeds if seed not in open_seeds]
        _say(f'scored already with these settings, not run again: seeds {", ".join(done)}')

    best = bool((cfg.get('default_hooks') or {}).get('checkpoint', {}).get('save_best'))
    runs = _Runs(tools, max(1, _cores() // jobs))
    failures = []
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {
            pool.submit(runs.run, work / f'seed_{seed}', texts[seed], best): seed
            for seed in open_seeds
        }
        for count, future in enumerate(as_completed(futures), 1):
            seed, error = futures[future], future.exception()
            if isinstance(error, SeedError):
                failures.append(seed)
                _say(f'seed {seed} failed: {error}', logging.WARNING)
            elif error:
                raise error
            else:
                _say(f'[{count}/{len(futures)}] {format_row(read_row(work, seed))}')
    finally:  # also when interrupted: nothing goes on behind the user's back
        pool.shutdown(wait=False, cancel_futures=True)
        runs.stop()
        pool.shutdown()

    rows = [read_row(work, seed) for seed in seeds if seed not in failures]
    if rows:
        print_log(write_summary(rows, work, str(config)))
    if failures:
        _say(
            f'{len(failures)} of {len(seeds)} seeds failed: {", ".join(map(str, failures))}; the '
            'same command runs them again',
            logging.WARNING,
        )
    return not failures


def seeded(cfg: Config, seed: int, name: str) -> Config:
    """Return a copy of a config with another seed, for the run and for each split.

    Raises:
        UserError: It has no hyperspectral data set.
    """
    cfg = deepcopy(cfg)
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}
    loaders = (cfg.get(f'{part}_dataloader') for part in ('train', 'val', 'test'))
    datasets = [dataset for loader in loaders for dataset in find_datasets(loader)]
    if not datasets:
        raise UserError(
            f'{name} has no HyperspectralDataset, whose split a seed could choose: give a config '
            'with one'
        )
    for dataset in datasets:
        dataset.split_cfg = {**(dataset.get('split_cfg') or {}), 'seed': seed}
    return cfg


def find_datasets(loader: Mapping | None) -> Iterator[ConfigDict]:
    """Yield the configs of the hyperspectral data sets of a data loader's config."""
    for dataset in leaf_configs(loader or {}):
        kind = str(dataset.get('type')).rpartition('.')[2]
        if 'split_cfg' in dataset or kind == 'HyperspectralDataset':
            yield dataset


def read_row(work: Path, seed: int) -> dict:
    """Read the scores of a finished seed.

    Returns:
        ``seed``, ``OA``, ``AA``, ``kappa``, ``classes`` (name to accuracy, None without
        samples), ``val_OA`` (of the tested checkpoint's epoch, None if it was not validated),
        ``train_seconds`` and ``test_seconds``.
    """
    folder = work / f'seed_{seed}'
    scores = json.loads((folder / SCORES).read_text())
    training = json.loads((folder / TRAINING).read_text())
    epoch = re.search(r'epoch_(\d+)\.pth$', scores['checkpoint'] or '')
    return {
        'seed': seed,
        **{name: scores[name] for name in NAMES},
        'classes': {name: entry['accuracy'] for name, entry in scores['classes'].items()},
        'val_OA': epoch and training.get('validation', {}).get(epoch[1]),
        'train_seconds': training['seconds'],
        'test_seconds': scores['seconds'],
    }


def format_row(row: Mapping) -> str:
    """Say in one line what a seed gave."""
    scores = '  '.join(f'{name} {row[name]:.2f}' for name in NAMES)
    return (
        f'seed {row["seed"]}: {scores}  (training {row["train_seconds"]:.1f} s, test '
        f'{row["test_seconds"]:.1f} s)'
    )


def write_summary(rows: Sequence[Mapping], work: Path, title: str) -> str:
    """Write ``scores.csv``, a row for each seed, and ``scores.json``, and return the table.

    The deviation is the population's (divided by the number of seeds), as toolboxes of the field
    give it; seeds without test samples of a class do not count for that class.

    Args:
        rows: As :func:`read_row` returns them.
        work: The folder to write into.
        title: What was repeated.

    Returns:
        The table of the means, below a line that says what they are of.
    """
    classes = list(rows[0]['classes'])
    flat = [
        {key: row[key] for key in ('seed', *NAMES)}
        | row['classes']
        | {key: row.get(key) for key in LAST}
        for row in rows
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, flat[0])
    writer.writeheader()
    writer.writerows(flat)
    write_bytes(text.getvalue().encode(), work / TABLE)

    summary = {}
    for key in list(flat[0])[1:]:
        values = [row[key] for row in flat if row[key] is not None]
        summary[key] = {
            'mean': float(np.mean(values)) if values else None,
            'std': float(np.std(values)) if values else None,
            'min': min(values, default=None),
            'max': max(values, default=None),
            'seeds': len(values),
        }
    seeds = [row['seed'] for row in rows]
    write_json(
        {'title': title, 'seeds': seeds, 'std': 'population', 'summary': summary, 'rows': flat},
        work / SCORES,
    )

    def cells(key: str) -> list[str]:
        entry = summary[key]
        if not entry['seeds']:
            return [key, '-', '-', '-', '0']
        spread = f'{entry["mean"]:.2f} +- {entry["std"]:.2f}'
        return [key, spread, f'{entry["min"]:.2f}', f'{entry["max"]:.2f}', str(entry['seeds'])]

    order = [*NAMES, *classes, *LAST]
    table = markdown_table(
        ['score', 'mean +- std', 'lowest', 'highest', 'seeds'], list(map(cells, order))
    )
    return (
        f'\n{title}, seeds {", ".join(map(str, seeds))} (percent, and accuracy of each class; std '
        f'is that of a population)\n\n{table}\n'
    )


class _Runs:
    """Runs seeds through the tools, in processes that can be stopped.

    Args:
        tools: The folder of ``train.py`` and ``test.py``.
        threads: For each process.
    """

    def __init__(self, tools: Path, threads: int) -> None:
        self.tools = tools
        self.env = {'OMP_NUM_THREADS': str(threads), **os.environ}
        self.processes: set[subprocess.Popen] = set()
        self.stopped = False

    def run(self, folder: Path, config: str, best: bool) -> None:
        """Train and test one seed in ``folder``, with its config beside it.

        Raises:
            SeedError: One of them failed.
        """
        file = folder.with_name(f'{folder.name}.py')
        write_bytes(config.encode(), file)
        for outdated in checkpoints_in(folder):  # of a training that was interrupted
            outdated.unlink()
        log = folder.with_name(f'{folder.name}.log')
        log.write_text('')
        _say(f'{folder.name}: started, its log is {log}')
        self._call(log, 'train.py', file, '--work-dir', folder)
        checkpoint = next(folder.glob('best_*.pth'), None) if best else find_checkpoint(folder)
        if checkpoint is None:
            raise SeedError(f'the training left no {"best" if best else "last"} checkpoint: {log}')
        self._call(log, 'test.py', file, checkpoint, '--work-dir', folder, '--overwrite')

    def _call(self, log: Path, tool: str, *arguments: object) -> None:
        command = [sys.executable, str(self.tools / tool), *map(str, arguments)]
        with open(log, 'a') as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                env=self.env,
                preexec_fn=_end_with_parent if LIBC is not None else None,
            )
            self.processes.add(process)
            if self.stopped:
                process.terminate()
            code = process.wait()
            self.processes.remove(process)
        if code:
            tail = log.read_text(errors='replace').strip().splitlines()[-LOG_LINES:]
            raise SeedError('\n  '.join([f'{tool} ended with {code}; {log} ends with', *tail]))

    def stop(self) -> None:
        """End what still runs."""
        self.stopped = True
        for process in list(self.processes):
            process.terminate()


def _check_config(cfg: Config, name: str) -> None:
    """Refuse what could not be scored, before hours are spent on it."""
    hooks = [str(hook.get('type')).rpartition('.')[2] for hook in cfg.get('custom_hooks') or []]
    if 'HyperspectralHook' not in hooks:
        raise UserError(
            f'{name} has no HyperspectralHook, which writes the scores: add '
            "dict(type='mmvit_plugins.HyperspectralHook') to custom_hooks"
        )
    if isinstance((cfg.get('default_hooks') or {}).get('checkpoint', {}).get('save_best'), list):
        raise UserError(
            f'{name} saves a best checkpoint for each of several scores, of which one is to be '
            "tested: set default_hooks.checkpoint.save_best to one, as 'hsi/OA'"
        )


def _open_seeds(texts: Mapping[int, str], work: Path) -> list[int]:
    """Return the seeds that have no scores yet.

    Raises:
        UserError: There are scores, but of other settings, or checkpoints of another run.
    """
    missing = []
    for seed, text in texts.items():
        file = work / f'seed_{seed}.py'
        folder = work / f'seed_{seed}'
        if not file.is_file() and checkpoints_in(folder):
            raise UserError(f'{folder} holds checkpoints of another run: choose another --work-dir')
        if not (folder / SCORES).is_file():
            missing.append(seed)
        elif not file.is_file() or file.read_text() != text:
            raise UserError(
                f'{work}/seed_{seed} holds scores of another config or of other options: choose '
                'another --work-dir, or remove that folder to run the seed again'
            )
    return missing


def _end_with_parent() -> None:
    """Let a process end when the one that started it is killed."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _say(text: str, level: int = logging.INFO) -> None:
    print_log(text, 'current', level)
