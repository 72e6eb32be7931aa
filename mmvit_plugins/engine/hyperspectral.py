"""What a hyperspectral run adds: the split report, a check of checkpoints, files of the scores."""

import csv
import io
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner

from ..datasets.wrappers import leaf_datasets
from ..errors import UserError
from ..evaluation import HyperspectralMetric, scores_of
from ..registry import HOOKS
from ..writing import write_bytes, write_json

TOLERANCE = 1e-5  # of a band transform's numbers, relative to the largest of the same list
SCORES, TRAINING = 'scores.json', 'training.json'
RESULTS = ('confusion.png', 'confusion.csv', SCORES)  # of a test
VALIDATION = 'validation_OA'  # in the message hub, which checkpoints keep
NAMES = ('OA', 'AA', 'kappa')
FITTED = 'band_transform'
SHOWN_ONLY = {'palette', 'rgb_bands'}  # parts of the metainfo that no result depends on


@HOOKS.register_module()
class HyperspectralHook(Hook):
    """Say what a hyperspectral run is trained and tested on, and write down what came out.

    Before the run it logs the split report of the data set. A checkpoint to be tested or resumed
    must have been trained with the band transform, split, bands and window of the data set; one
    that does not say (no ``dataset_meta``) is used with a warning.

    Into the work folder go, after a training, ``training.json`` (its seconds, without loading the
    scene; epochs and iterations; ``validation``, OA after each epoch that was validated), and after
    a test ``confusion.png``, ``confusion.csv`` (row:
    truth) and ``scores.json``: scores in percent, those of each class, the seconds of the test.

    Raises:
        UserError: Not a hyperspectral data set, or one of more classes than the model tells apart,
            no ``HyperspectralMetric`` to test with, or a checkpoint that was trained otherwise.
    """

    def __init__(self) -> None:
        self.start = 0.0
        self.validation: dict[int, float] = {}

    def before_run(self, runner: Runner) -> None:
        """Check that the model knows all classes, and log the split report."""
        dataset = _dataset(runner)
        if not hasattr(dataset, 'split_report'):
            raise UserError(
                'HyperspectralHook needs a HyperspectralDataset, but the config has a '
                f'{type(dataset).__name__}: take the hook out of custom_hooks'
            )
        classes, known = len(dataset.metainfo['classes']), _num_classes(runner)
        if known is not None and classes > known:
            raise UserError(
                f'the scene has {classes} classes and the head of the model num_classes={known}: '
                'set it to the number of classes, or leave classes out with label_map'
            )
        runner.logger.info('\n' + dataset.split_report())

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare what the checkpoint was trained with to the data set of the run."""
        dataset = _dataset(runner)
        if dataset is None or _is_built(runner, 'train') and not runner._resume:
            return  # loaded by hand; or a start from other weights, which may come from any scene
        meta = (checkpoint.get('meta') or {}).get('dataset_meta')
        if not meta:
            runner.logger.log(
                logging.WARNING,
                'the checkpoint does not say which data it was trained with, so nobody can tell '
                'whether its band transform and split are those of this run',
            )
            return
        wrong = list(_differences(meta, dataset.metainfo))
        if wrong:
            raise UserError(
                f'the checkpoint was trained with other settings than this run has, '
                f'{"; ".join(wrong[:5])}: use the config and options of its training, which lie in '
                'its work folder, or train anew'
            )

    def before_train(self, runner: Runner) -> None:
        """Start the clock: the scene is loaded, the model built."""
        self.start = time.perf_counter()
        known = runner.message_hub.runtime_info.get(VALIDATION) or {}  # of a run that is resumed
        self.validation = dict(known) if isinstance(known, dict) else {}

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Remember the validation's OA by its epoch."""
        metric = _find_metric(runner.val_evaluator)
        if metric is not None and metric.confusion is not None:
            self.validation[runner.epoch] = scores_of(metric.confusion)['OA']
            runner.message_hub.update_info(VALIDATION, dict(self.validation))

    def after_train(self, runner: Runner) -> None:
        """Write how long the training took, validation and checkpoints included."""
        seconds = time.perf_counter() - self.start
        if is_main_process():
            write_json(
                {
                    'seconds': seconds,
                    'epochs': runner.epoch,
                    'iterations': runner.iter,
                    'validation': self.validation,
                },
                Path(runner.work_dir, TRAINING),
            )

    def before_test(self, runner: Runner) -> None:
        """Check that there will be something to write, and start the clock."""
        _metric(runner)
        self.start = time.perf_counter()

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write confusion matrix and scores."""
        seconds = time.perf_counter() - self.start
        metric = _metric(runner)
        if not is_main_process():
            return
        from ..visualization.confusion import plot_confusion  # here, as matplotlib takes a second

        folder, classes = Path(runner.work_dir), metric.dataset_meta['classes']
        plot_confusion(metric.confusion, classes, folder / 'confusion.png')
        text = io.StringIO()
        rows = zip(classes, metric.confusion.tolist(), strict=True)
        csv.writer(text).writerows(
            [['truth / prediction', *classes], *([name, *row] for name, row in rows)]
        )
        write_bytes(text.getvalue().encode(), folder / 'confusion.csv')
        # last: a run whose scores are there has written everything
        record = score_record(metric.confusion, classes)
        checkpoint = runner._load_from and str(runner._load_from)
        write_json({**record, 'seconds': seconds, 'checkpoint': checkpoint}, folder / SCORES)


def score_record(confusion: np.ndarray, classes: Sequence[str]) -> dict:
    """Return scores as plain data for a JSON file, in percent; what is undefined is None.

    Args:
        confusion: ``(K, K)`` counts; row: truth, column: prediction.
        classes: K names.
    """
    scores = scores_of(confusion)
    kinds = {'accuracy': 'recall', 'precision': 'precision', 'f1': 'f1'}
    columns = [
        [None if math.isnan(value) else value for value in scores[key].tolist()]
        for key in kinds.values()
    ]
    samples = confusion.sum(1).tolist()
    return {
        **{name: scores[name] for name in NAMES},
        'samples': sum(samples),
        'classes': {
            name: {'samples': count, **dict(zip(kinds, values, strict=True))}
            for name, count, *values in zip(classes, samples, *columns, strict=True)
        },
    }


def _is_built(runner: Runner, name: str) -> bool:
    # The runner's public properties would build the loops that this run does not need.
    return isinstance(getattr(runner, f'_{name}_loop'), BaseLoop)


def _dataset(runner: Runner) -> Any:
    """Return the data set of the run, from inside of what repeats it; None before there is one."""
    name = next((name for name in ('train', 'test', 'val') if _is_built(runner, name)), None)
    dataset = name and getattr(runner, f'_{name}_loop').dataloader.dataset
    leaves = list(leaf_datasets(dataset))
    return leaves[0] if len(leaves) == 1 else dataset


def _num_classes(runner: Runner) -> int | None:
    """Return how many classes the model tells apart, None if it does not say."""
    model = getattr(runner, 'model', None)
    model = model.module if is_model_wrapper(model) else model
    return getattr(getattr(model, 'head', None), 'num_classes', None)


def _metric(runner: Runner) -> HyperspectralMetric:
    """Return the metric that counts.

    Raises:
        UserError: There is none.
    """
    metric = _find_metric(runner.test_evaluator)
    if metric is None:
        raise UserError(
            'HyperspectralHook writes what HyperspectralMetric counts, and test_evaluator has '
            "none: add dict(type='mmvit_plugins.HyperspectralMetric')"
        )
    return metric


def _find_metric(evaluator: Evaluator) -> HyperspectralMetric | None:
    found = (metric for metric in evaluator.metrics if isinstance(metric, HyperspectralMetric))
    return next(found, None)


def _differences(there: Any, here: Any, path: str = '') -> Iterator[str]:
    """Yield what differs between a checkpoint's settings and those here, by the names of ``here``.

    Numbers that were computed may differ by ``TOLERANCE``, as a fit does between machines. The fit
    comes last and as a whole, as it follows from the others.
    """
    if isinstance(here, dict) and isinstance(there, dict) and path != FITTED:
        keys = here.keys() | there.keys() if path else here.keys() - SHOWN_ONLY
        for key in sorted(keys, key=lambda key: (key == FITTED, key)):
            yield from _differences(there.get(key), here.get(key), f'{path}.{key}'.lstrip('.'))
    elif not _same(there, here):
        values = f'{there!r} there, {here!r} here'
        yield f'{path} ({values})' if len(values) <= 60 else path


def _same(there: Any, here: Any) -> bool:
    if isinstance(here, list | tuple) and isinstance(there, list | tuple):
        try:
            numbers = [np.asarray(value, float) for value in (there, here)]
        except (TypeError, ValueError):  # names, dicts, or rows of different length
            return len(here) == len(there) and all(map(_same, there, here))
        if numbers[0].shape != numbers[1].shape:
            return False
        scale = max((np.abs(value).max(initial=0) for value in numbers), default=0)
        return np.allclose(*numbers, rtol=0, atol=TOLERANCE * scale)
    if isinstance(here, dict) and isinstance(there, dict):
        return not list(_differences(there, here, 'inside'))
    if isinstance(here, float) and isinstance(there, float):
        return math.isclose(there, here, rel_tol=TOLERANCE)
    return there == here
