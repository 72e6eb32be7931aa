"""Random numbers of a training: kept in checkpoints, and of each sample its own in the loaders.

Workers are started anew when a training goes on. So that they do not repeat or skip anything, what
they draw for a sample follows from the seed and the sample's place in the training, not from what
they drew before.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import DataLoader, Dataset, get_worker_info


def get_states() -> dict:
    """Return the states of this process: Python's, numpy's, torch's, and of its GPU."""
    states = {
        'python': random.getstate(),
        'numpy': np.random.get_state(legacy=False),
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_states(states: Mapping) -> None:
    """Put the states back that :func:`get_states` has returned."""
    version, numbers, spare = states['python']
    random.setstate((version, tuple(numbers), spare))
    np.random.set_state(states['numpy'])
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


class Place(int):
    """An index into a data set that knows which sample of the training it is for."""

    number: int


class PlacedSampler:
    """A sampler whose indices know their place.

    Args:
        sampler: Whose indices they are.
        runner: Tells how far the training is when the indices are asked for.
        states: Put back before the first index is given out: making the iterator of a loader draws
            a number, which an uninterrupted run does not do at this point.
    """

    def __init__(self, sampler: Any, runner: Any, states: Mapping | None) -> None:
        self._sampler, self._runner, self._states = sampler, runner, states

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Place]:
        size = self._runner.train_dataloader.batch_sampler.batch_size
        for number, index in enumerate(self._sampler, self._runner.iter * size):
            if self._states is not None:
                set_states(self._states)
                self._states = None
            place = Place(index)
            place.number = number
            yield place


def place_samples(loader: DataLoader, runner: Any, states: Mapping | None = None) -> None:
    """Make a training's loader seed its workers for each sample.

    Args:
        loader: Not asked for a batch yet.
        runner: See :class:`PlacedSampler`.
        states: Likewise.
    """
    batches: Any = loader.batch_sampler
    if not hasattr(batches, 'sampler') or not hasattr(batches, 'batch_size'):
        return  # of someone's own making: its workers are seeded once, as mmengine does it
    batches.sampler = PlacedSampler(batches.sampler, runner, states)
    loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn, runner.seed, get_rank())


def _start_worker(start: Any, seed: int, rank: int, worker: int) -> None:
    """Start a worker as mmengine does, and let its copy of the data set seed itself."""
    if start is not None:
        start(worker)
    dataset: Any = get_worker_info().dataset
    # torch asks a data set for all samples of a batch at once if it has this
    if not hasattr(dataset, '__getitems__'):
        dataset.__getitems__ = partial(_get_seeded, dataset, seed, rank)


def _get_seeded(dataset: Dataset, seed: int, rank: int, indices: Sequence[int]) -> list:
    samples = []
    for index in indices:
        if isinstance(index, Place):
            words = np.random.SeedSequence([seed, rank, index.number]).generate_state(1)
            own = int(words[0])
            random.seed(own)
            np.random.seed(own)
            torch.default_generator.manual_seed(own)
        samples.append(dataset[index])
    return samples
