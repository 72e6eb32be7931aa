"""What tiles must blend to, computed on the whole picture."""

import numpy as np

from mmvit_plugins.apis.tiles import Axis


def places(rows: Axis, columns: Axis):
    """Go through the tiles, row by row: slices of height and width."""
    for top in rows.starts:
        for left in columns.starts:
            yield np.s_[top : top + rows.tile, left : left + columns.tile]


def weigh(tiles, rows: Axis, columns: Axis) -> np.ndarray:
    """Divide the sum of tiles ``(K, h, w)``, weighted by sin^2, by the sum of weights."""
    window = [np.sin(np.pi * (np.arange(a.tile) + 0.5) / a.tile) ** 2 for a in (rows, columns)]
    weight = np.outer(*window)
    size = (rows.ends[-1], columns.ends[-1])
    total, weights = np.zeros((len(tiles[0]), *size)), np.zeros(size)
    for place, tile in zip(places(rows, columns), tiles, strict=True):
        total[(slice(None), *place)] += weight * tile
        weights[place] += weight
    return total / weights
