"""What a map of a hyperspectral scene is written into: pictures and files of labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from mmengine.logging import print_log

from ..errors import UserError
from ..visualization.maps import ERRORS, draw_map, draw_panel, map_scale, stretch
from .pictures import save

TIFF = ('.tif', '.tiff')
ENDINGS = ('.npy', '.mat', *TIFF)


class Prediction(NamedTuple):
    """What came out for a scene."""

    labels: np.ndarray  # (H, W) of label_type, 0 where not computed
    missing: np.ndarray  # (H, W) bool: no data
    picture: np.ndarray  # three bands of every panel_step-th pixel, NaN without data
    scores: np.ndarray | None


class Ground(NamedTuple):
    """What is known of the truth of a scene."""

    truth: np.ndarray
    errors: np.ndarray
    metrics: dict | None


def write_maps(
    out: Path,
    result: Prediction,
    ground: Ground | None,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> None:
    """Write the panel, the exact maps and the labels.

    Args:
        out: The panel, ``NAME.png``; ``NAME_pred.png``, ``NAME_truth.png``, ``NAME_error.png`` and
            ``NAME.npy`` go beside it.
        result: What was computed.
        ground: What is known of the truth, None for nothing.
        classes: Names of the classes 1 to K.
        palette: Their RGB colours.
    """
    maps = {'prediction': result.labels}
    lines = ['no ground truth: no numbers']
    if ground:
        maps = {'ground truth': ground.truth, **maps}
        lines = ['no test pixel was computed: no numbers']
        if ground.metrics:
            lines = [describe(ground.metrics)]
    if result.missing.any():
        lines.append(f'{int(result.missing.sum())} pixels without data are not computed')
    panel = draw_panel(
        stretch(result.picture), maps, ground and ground.errors, classes, palette, lines
    )
    save(panel, out)
    scale = map_scale(result.labels.shape)
    named = {'pred': result.labels} | ({'truth': ground.truth} if ground else {})
    for kind, labels in named.items():
        save(draw_map(labels, palette, scale), out.with_name(f'{out.stem}_{kind}.png'))
    if ground:
        picture = draw_map(ground.errors, tuple(ERRORS.values()), scale)
        save(picture, out.with_name(f'{out.stem}_error.png'))
    save_labels(out.with_suffix('.npy'), result.labels, palette, None)
    print_log(f'wrote {out} and what belongs to it', 'current')


def describe(metrics: Mapping) -> str:
    """Say in a line what a map scored on which pixels."""
    numbers = ', '.join(f'{name} {metrics[name]:.2f}' for name in ('OA', 'AA', 'kappa'))
    return f'{numbers} (percent) of {metrics["pixels"]} {metrics["part"]}'


def check_ending(name: str, path: str | Path | None, allowed: Sequence[str]) -> None:
    """Refuse a file (of the argument ``name``) that does not end as it should (UserError)."""
    if path is not None and Path(path).suffix.lower() not in allowed:
        raise UserError(f'{name} is {path}: its ending must be {" or ".join(allowed)}')


def import_rasterio() -> Any:
    """Import what writes GeoTIFFs, or say how to get it (ImportError)."""
    try:
        import rasterio
    except ImportError as error:
        raise ImportError(
            'a GeoTIFF is written with rasterio, which is not installed: pip install rasterio'
        ) from error
    return rasterio


def save_labels(
    path: Path, labels: np.ndarray, palette: Sequence, georeference: dict | None
) -> None:
    """Write a map as the ending of its file says.

    Args:
        path: One of ``ENDINGS``.
        labels: ``(H, W)``, uint8 or uint16.
        palette: RGB colours of the classes 1 to K, which a GeoTIFF holds.
        georeference: Where a GeoTIFF lies, as ``rasterio.open`` takes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ending = path.suffix.lower()
    if ending == '.npy':
        np.save(path, labels)
    elif ending == '.mat':
        scipy.io.savemat(path, {'labels': labels}, do_compression=True)
    else:
        height, width = labels.shape
        about = {'count': 1, 'dtype': labels.dtype.name, 'nodata': 0, 'compress': 'deflate'}
        with import_rasterio().open(
            path, 'w', 'GTiff', width, height, **about, **(georeference or {})
        ) as file:
            file.write(labels, 1)
            file.write_colormap(1, dict(enumerate([(0, 0, 0), *map(tuple, palette)])))
