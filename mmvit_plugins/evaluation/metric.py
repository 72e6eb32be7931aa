"""OA, AA and kappa as a metric of mmengine, for any host's classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from ..registry import METRICS
from .scores import confusion_matrix, scores_of


@METRICS.register_module()
class HyperspectralMetric(BaseMetric):
    """Overall accuracy ``hsi/OA``, average accuracy ``hsi/AA`` and ``hsi/kappa``, in percent.

    AA is the mean recall of the classes that have test samples. A table of the classes is logged;
    after an evaluation ``confusion`` holds the matrix ``(K, K)``, row: truth (on the main process).
    ``save_best='hsi/OA', rule='greater'`` chooses a checkpoint by it.

    Args:
        per_class: Return ``hsi/accuracy/<class>`` as well, for the classes that have samples.
        collect_device: As in mmengine's ``BaseMetric``.
        prefix: The same; default ``hsi``.
        collect_dir: The same.
    """

    default_prefix = 'hsi'

    def __init__(
        self,
        per_class: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix, collect_dir)
        self.per_class = per_class
        self.confusion: np.ndarray | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep truth and prediction, two numbers of each sample.

        Args:
            data_batch: Not used.
            data_samples: Dicts with ``gt_label`` and ``pred_label`` ``(1,)``, or instead of the
                latter ``pred_score`` ``(K,)``.

        Raises:
            ValueError: A sample has no true label.
        """
        for sample in data_samples:
            if sample.get('gt_label') is None:
                raise ValueError(
                    'a sample without gt_label cannot be scored: evaluate a data set of labelled '
                    "pixels, split='test', 'val' or 'labelled'"
                )
            label = sample.get('pred_label')
            label = sample['pred_score'].argmax() if label is None else label
            self.results.append((int(sample['gt_label']), int(label)))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Score all samples and log the table.

        Raises:
            ValueError: There is no sample, or the data set does not name its classes.
        """
        classes = (self.dataset_meta or {}).get('classes')
        if not classes:
            raise ValueError(
                "HyperspectralMetric needs the data set's class names: set metainfo.classes"
            )
        truth, prediction = np.array(results, np.int64).reshape(-1, 2).T
        self.confusion = confusion_matrix(truth, prediction, len(classes))
        scores = scores_of(self.confusion)
        print_log(format_scores(self.confusion, classes), 'current')
        found = {name: scores[name] for name in ('OA', 'AA', 'kappa')}
        if self.per_class:
            for name, recall in zip(classes, scores['recall'].tolist(), strict=True):
                if recall == recall:  # not NaN, which a class without samples has
                    found[f'accuracy/{name}'] = recall
        return found


def format_scores(confusion: np.ndarray, classes: Sequence[str]) -> str:
    """Lay out the scores of each class and of all of them as a table of plain text.

    Args:
        confusion: ``(K, K)`` counts; row: truth, column: prediction.
        classes: K names.
    """
    scores = scores_of(confusion)
    width = max(map(len, (*classes, 'class')))
    lines = [f'{"class":{width}}  samples  accuracy  precision      F1']
    for index, (name, count) in enumerate(zip(classes, confusion.sum(1), strict=True)):
        cells = [scores[key][index] for key in ('recall', 'precision', 'f1')]
        texts = ['-' if np.isnan(cell) else f'{cell:.2f}' for cell in cells]
        lines.append(f'{name:{width}}  {count:7d}  {texts[0]:>8}  {texts[1]:>9}  {texts[2]:>6}')
    lines.append(
        f'OA {scores["OA"]:.2f}  AA {scores["AA"]:.2f}  kappa {scores["kappa"]:.2f}  (percent; AA '
        f'over {scores["present"].sum()} of {len(classes)} classes)'
    )
    return '\n' + '\n'.join(lines)
