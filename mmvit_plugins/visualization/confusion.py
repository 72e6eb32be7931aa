"""A picture of a confusion matrix: counts, shaded by the share of the true class."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..writing import write_bytes


def plot_confusion(confusion: np.ndarray, classes: Sequence[str], path: str | Path) -> None:
    """Draw how often each class was taken for each; what does not occur stays empty.

    Args:
        confusion: ``(K, K)`` counts; row: truth, column: prediction.
        classes: K names.
        path: Picture to write; its suffix says the format.
    """
    size = len(classes)
    totals = confusion.sum(1, keepdims=True)
    share = 100 * confusion / np.maximum(totals, 1)
    side = 3 + 0.45 * size
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(share, cmap='Blues', vmin=0, vmax=100)
    for row, column in np.argwhere(confusion):
        colour = 'white' if share[row, column] > 50 else 'black'
        text = str(confusion[row, column])
        axes.text(column, row, text, ha='center', va='center', color=colour, fontsize=7)
    axes.set(xlabel='prediction', ylabel='truth')
    axes.set_xticks(range(size), classes, rotation=45, ha='right', rotation_mode='anchor')
    names = [f'{name} ({total})' for name, total in zip(classes, totals.ravel(), strict=True)]
    axes.set_yticks(range(size), names)
    figure.colorbar(image, label="percent of the class's pixels", shrink=0.8)
    data = io.BytesIO()
    figure.savefig(data, dpi=100, format=Path(path).suffix[1:].lower())
    write_bytes(data.getvalue(), path)
