"""Segmentation of one picture by tiles, in bounded memory, and what is kept of any picture."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .batches import run_ahead
from .label_files import kind_of_labels
from .predictor import Predictor
from .scores import Scores
from .store import Store
from .tiles import Axis, blend
from .windows import Raster, Whole

# What a tile does not go through: it is seen in the picture's own size
RESIZES = ('Resize', 'ResizeShortestEdge', 'ResizeEdge', 'Rescale')
Tile = tuple[slice, slice]


class Segmented(NamedTuple):
    """What was found in a picture."""

    labels: Store  # (H, W)
    probabilities: Store | None  # (K, H, W) float16


class Segmenter:
    """Turns what a segmentor says into labels and probabilities; predicts pictures by tiles.

    Args:
        predictor: The model.
        count: Number of classes.
        out: Where temporary files may lie.
        keep: Whether probabilities are kept.

    Raises:
        UserError: The model gives no probabilities, and they are asked for.
    """

    def __init__(self, predictor: Predictor, count: int, out: Path, keep: bool = False) -> None:
        self.predictor, self.count, self.out, self.keep = predictor, count, out, keep
        self.scores = Scores(predictor.model)
        if keep:
            self.scores.check_probabilities()
        self.kind, self.no_data = kind_of_labels(count)

    def collect(self, sample: Any, missing: np.ndarray | None) -> Segmented:
        """Take labels and probabilities from a predicted sample.

        Args:
            sample: Of the whole picture.
            missing: ``(H, W)``, bool: pixels without data; None if there are none.
        """
        labels = sample.pred_sem_seg.data[0].numpy()
        found = self._open(labels.shape)
        found.labels.array[:] = labels
        if found.probabilities is not None:
            found.probabilities.array[:] = self.scores.layers(self.scores.read(sample)).numpy()
        if missing is not None:
            self._clear(found, missing)
        return found

    @torch.no_grad()
    def predict(
        self,
        source: Whole | Raster,
        tile: int,
        overlap: float,
        pool: Executor,
        batch_size: int = 1,
        step: Callable[[], object] = lambda: None,
    ) -> Segmented:
        """Predict a picture by tiles, which are seen in the picture's own size.

        Args:
            source: The picture.
            tile: Pixels of a tile's side.
            overlap: What neighbouring tiles share at least, as a part of their side.
            pool: Reads tiles beside computing.
            batch_size: How many tiles are predicted at once.
            step: Called after each tile.
        """
        rows, columns = (Axis(length, tile, overlap) for length in source.shape)
        found = self._open(source.shape)
        missing: list[Store] = []
        tiles = self._predict_tiles(source, (rows, columns), pool, batch_size, missing)
        for piece in blend(tiles, rows, columns, self.out):
            _, height, width = piece.values.shape
            place = np.s_[piece.top : piece.top + height, piece.left : piece.left + width]
            found.labels.array[place] = self.scores.label(piece.values).numpy()
            found.labels.release()
            if found.probabilities is not None:
                layers = self.scores.layers(piece.values).numpy()
                found.probabilities.array[(slice(None), *place)] = layers
                found.probabilities.release()
            step()
        for store in missing:
            for top in range(0, source.shape[0], tile):
                rest = np.s_[top : top + tile]
                self._clear(found, store.array[rest], rest)
                store.release()
        return found

    def _predict_tiles(
        self,
        source: Whole | Raster,
        axes: tuple[Axis, Axis],
        pool: Executor,
        batch_size: int,
        missing: list[Store],
    ) -> Iterator[Tensor]:
        """Yield the scores of tiles, row by row; note pixels without data in ``missing``."""
        rows, columns = axes
        places = [
            (slice(top, top + rows.tile), slice(left, left + columns.tile))
            for top in rows.starts
            for left in columns.starts
        ]

        def read(place: Tile) -> tuple[np.ndarray | None, dict | None]:
            loaded = source.read(*place)
            gaps = loaded.get('nodata')
            if gaps is not None and gaps.all():
                return gaps, None
            return gaps, self.predictor.prepare(loaded, RESIZES)

        coming = run_ahead(pool, read, places, 2 * batch_size)
        batch: list[dict | None] = []
        for place, future in coming:
            gaps, sample = future.result()
            if gaps is not None and gaps.any():
                if not missing:
                    missing.append(Store(source.shape, 'bool', self.out))
                missing[0].array[place] = gaps
                missing[0].release()
            batch.append(sample)
            if len(batch) == batch_size:
                yield from self._score(batch, axes)
                batch = []
        yield from self._score(batch, axes)

    def _score(self, batch: Sequence[dict | None], axes: tuple[Axis, Axis]) -> list[Tensor]:
        """Predict tiles; None for those without data, whose scores are of no account.

        Raises:
            UserError: The model changes the size.
        """
        samples = [sample for sample in batch if sample is not None]
        found = iter(self.predictor.forward(samples) if samples else [])
        size = tuple(axis.tile for axis in axes)
        scores = []
        for sample in batch:
            if sample is None:
                scores.append(torch.zeros(self.predictor.model.out_channels, *size))
                continue
            scores.append(self.scores.read(next(found)))
            if scores[-1].shape[1:] != size:
                raise UserError(
                    f'a tile of {size} (height, width) comes out of the test pipeline and the '
                    f'model as {tuple(scores[-1].shape[1:])}: leave out of test_pipeline what '
                    'cuts pictures, or give --tile 0'
                )
        return scores

    def _open(self, shape: tuple[int, int]) -> Segmented:
        labels = Store(shape, self.kind, self.out)
        layers = Store((self.count, *shape), 'float16', self.out) if self.keep else None
        return Segmented(labels, layers)

    def _clear(self, found: Segmented, missing: np.ndarray, rows: slice = np.s_[:]) -> None:
        """Mark pixels without data, of some rows."""
        found.labels.array[rows][missing] = self.no_data
        found.labels.release()
        if found.probabilities is not None:
            for layer in found.probabilities.array:
                layer[rows][missing] = np.nan
            found.probabilities.release()
