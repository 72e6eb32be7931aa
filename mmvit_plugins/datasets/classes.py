"""What the labels of a data set say of its classes: which occur, are none, or have wrong names."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import DataError, listed


class Labels:
    """Counts the labels of a data set; one process counts its share, ``join`` adds them up.

    Args:
        dataset: One that holds samples itself.

    Attributes:
        counts: Label -> pictures that have it, or boxes, or pixels of label maps.
    """

    def __init__(self, dataset: Any) -> None:
        names = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        self.names = tuple(names) if isinstance(names, list | tuple) else ()
        self.numbers = {name: i for i, name in enumerate(self.names)}
        self.counts: Counter[int] = Counter()
        self.of_pictures = False
        self.firsts: dict[int, str] = {}  # label -> a picture that has it
        # folder that is called as a class -> labels of the pictures in it
        self.folders: dict[str, Counter[int]] = {}

    def add(self, info: Mapping, path: str) -> None:
        """Count the classes of a picture or of its boxes.

        Args:
            info: Of the sample.
            path: The picture; without one there is nothing to count.
        """
        label = info.get('gt_label')
        if path and label is not None:
            self.of_pictures = True
            for one in [label] if isinstance(label, int) else np.atleast_1d(label).tolist():
                self.counts[one] += 1
                self.firsts.setdefault(one, path)
            folder = os.path.basename(os.path.dirname(path))
            if isinstance(label, int) and folder in self.numbers:
                self.folders.setdefault(folder, Counter())[label] += 1
        elif path:
            for box in info.get('instances') or ():
                if not box.get('ignore_flag'):
                    self.counts[box['bbox_label']] += 1

    def add_map(self, labels: np.ndarray) -> None:
        """Count the pixels of a label map ``(H, W)``."""
        if labels.dtype == np.uint8:
            numbers = np.bincount(labels.ravel(), minlength=256)
            found = ((int(label), int(numbers[label])) for label in np.flatnonzero(numbers))
        else:
            found = zip(*(x.tolist() for x in np.unique(labels, return_counts=True)), strict=True)
        self.counts.update(dict(found))

    def join(self, others: Iterable['Labels']) -> None:
        """Add what other processes counted."""
        for other in others:
            self.counts.update(other.counts)
            self.of_pictures |= other.of_pictures
            self.firsts = {**other.firsts, **self.firsts}
            for folder, counts in other.folders.items():
                self.folders.setdefault(folder, Counter()).update(counts)

    def check(self, what: str, outputs: int | None = None) -> None:
        """Refuse labels of pictures that are none of the classes, or that get another's name.

        Args:
            what: The data set in words.
            outputs: How many classes the model tells apart, where known.

        Raises:
            DataError: Names a picture, its label, and what to do.
        """
        if not self.of_pictures:
            return
        allowed = outputs or len(self.names)
        wrong = [label for label in self.counts if label >= allowed]
        if allowed and wrong:
            label = min(wrong)
            raise DataError(
                f'{self.firsts[label]} of {what} has the label {label}, allowed are 0 to '
                f'{allowed - 1}: set num_classes to the number of classes, or correct ann_file, in '
                'which classes count from 0'
            )
        total = sum(counts.total() for counts in self.folders.values())
        right = sum(counts[self.numbers[folder]] for folder, counts in self.folders.items())
        if 2 * right < total:
            order = {name: counts.most_common(1)[0][0] for name, counts in self.folders.items()}
            first = next(name for name, label in order.items() if label != self.numbers[name])
            named = sorted(order, key=order.__getitem__)
            raise DataError(
                f'labels would get wrong names: pictures of {what} in the folder {first} have the '
                f'label {order[first]}, which metainfo calls {self.names[order[first]]}; list the '
                f'classes in the order of their labels, {listed(named)}'
            )

    def missing(self) -> list[str]:
        """Return the names of the classes that do not occur."""
        return [name for i, name in enumerate(self.names) if not self.counts[i]]

    def share(self, ignored: Iterable[int]) -> float:
        """Return which part of the pixels is ignored, from 0 to 1."""
        return sum(self.counts[label] for label in ignored) / max(1, self.counts.total())
