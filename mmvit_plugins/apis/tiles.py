"""Tiles of a picture, and how they are blended where they overlap.

The blend is a mean weighted by ``sin^2``, which is highest in a tile's middle, where the network
sees most around a pixel. It is computed as a running mean: a tile moves what earlier tiles gave by
its share of the weights so far. So values that all tiles agree on stay as they are, to the bit.
"""

from collections.abc import Iterable, Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from .store import Store

MAX_OVERLAP = 0.9


class Axis:
    """Where tiles lie along the height or width of a picture: evenly, from end to end.

    Args:
        length: Pixels of the picture.
        tile: Pixels of a tile; the whole length if that is shorter.
        overlap: What neighbours share at least, as a part of a tile.

    Attributes:
        tile: Pixels of a tile.
        starts: First pixel of each tile.
        ends: Of each tile, the first pixel of the next (of the last, its end): what is before that
            is complete once the tile is there.
        shares: Of each tile, the share of its weight in the sum so far, for the pixels from its
            start on that earlier tiles have too.
    """

    def __init__(self, length: int, tile: int, overlap: float) -> None:
        self.tile = min(tile, length)
        step = max(int(self.tile * (1 - overlap)), 1)
        count = 1 + ceil((length - self.tile) / step)
        self.starts = np.linspace(0, length - self.tile, count).round().astype(int).tolist()
        self.ends = [*self.starts[1:], length]
        self.shares = [self._share(index) for index in range(count)]

    def _share(self, index: int) -> np.ndarray:
        start = self.starts[index]
        covered = self.starts[index - 1] + self.tile - start if index else 0
        pixels = start + np.arange(max(covered, 0))
        sums = np.zeros(len(pixels))
        weight = sums
        for other in self.starts[: index + 1]:
            place = (pixels - other + 0.5) / self.tile
            weight = np.where(place < 1, np.sin(np.pi * place) ** 2, 0)
            sums = sums + weight
        return (weight / np.where(sums, sums, 1)).astype(np.float32)


class Piece(NamedTuple):
    """A part of a picture that is complete."""

    top: int
    left: int
    values: Tensor  # (K, h, w)


def check_tiles(tile: int | None, overlap: float) -> None:
    """Refuse sizes that make no tiles.

    Raises:
        UserError: That.
    """
    if tile is not None and (tile < 0 or 0 < tile < 16):
        raise UserError(f'tile={tile}: give at least 16 pixels, or 0 for no tiles')
    if not 0 <= overlap <= MAX_OVERLAP:
        raise UserError(f'overlap={overlap}: give a part of a tile, from 0 to {MAX_OVERLAP}')


def blend(
    tiles: Iterable[Tensor], rows: Axis, columns: Axis, folder: str | Path | None = None
) -> Iterator[Piece]:
    """Blend tiles, and yield what is complete.

    Of the picture, only what the next row of tiles overlaps is held.

    Args:
        tiles: ``(K, h, w)`` float32 on the CPU, row by row from the top left; they are written to.
        rows: How tiles follow each other downwards.
        columns: The same to the right.
        folder: Where a temporary file may lie; the system's place by default.

    Yields:
        Pieces, row by row; together the whole picture.
    """
    tiles = iter(tiles)
    store: Store | None = None
    for i, top in enumerate(rows.starts):
        before: Tensor | None = None
        for j, left in enumerate(columns.starts):
            tile = next(tiles)
            if before is not None:
                _move(tile, before, torch.from_numpy(columns.shares[j]))
            piece = tile[:, :, : columns.ends[j] - left]
            before = tile[:, :, columns.ends[j] - left :]
            if store is None:
                line = len(tile) * max(map(len, rows.shares))  # of all classes, one pixel wide
                store = Store((line * columns.ends[-1],), 'float32', folder)
            # what a tile needs lies together: of a file, no more is mapped
            part = torch.from_numpy(store.array[line * left : line * columns.ends[j]])
            waiting = part.view(len(tile), -1, columns.ends[j] - left) if line else piece[:, :0]
            if len(rows.shares[i]):
                old = waiting[:, : len(rows.shares[i])]
                _move(piece, old, torch.from_numpy(rows.shares[i])[:, None])
            done = rows.ends[i] - top
            waiting[:, : rows.tile - done] = piece[:, done:]
            store.release()
            yield Piece(top, left, piece[:, :done])


def _move(new: Tensor, old: Tensor, share: Tensor) -> None:
    """Put the mean so far into ``new``, where ``old`` has values: ``old + share * (new - old)``."""
    part = new[:, : old.shape[1], : old.shape[2]]
    part.sub_(old).mul_(share).add_(old)
