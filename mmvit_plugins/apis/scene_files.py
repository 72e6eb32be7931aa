"""What a map of a hyperspectral scene is written into: pictures and files of labels."""

import io
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from mmengine.logging import print_log

from ..datasets.hyperspectral.catalogue import SCENES
from ..datasets.hyperspectral.finding import find_sources
from ..errors import DataError, UserError
from ..visualization.maps import ERRORS, draw_map, draw_panel, map_scale, stretch
from ..writing import replacing, write_bytes
from .outputs import check_outputs
from .pictures import save

TIFF = ('.tif', '.tiff')
KINDS = ('image', 'labels', 'train_labels', 'test_labels')
ROOT = 'data/hyperspectral'  # where load_scene looks by default
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


def check_files(
    out: str | Path | None,
    georeference: bool,
    save: str | Path | None,
    scores: str | Path | None,
    inputs: Collection[str | Path | None],
    overwrite: bool,
) -> None:
    """Refuse files that cannot be what they are called, are inputs, or must not be replaced.

    Args:
        out: The panel of :func:`write_maps`.
        georeference: Whether a GeoTIFF goes beside it.
        save: A further file of the labels.
        scores: The file of the scores.
        inputs: Files that are read.
        overwrite: Whether files that are there may be replaced.

    Raises:
        UserError: That.
    """
    check_ending('out', out, ('.png',))
    check_ending('save', save, ENDINGS)
    check_ending('scores', scores, ('.npy',))
    if georeference and out is None:
        raise UserError('georeference=True writes a GeoTIFF beside out: give out too')
    labels = {Path(save)} if save else set()
    pictures = []
    if out is not None:
        panel = Path(out)
        kinds = [f'{panel.stem}_{kind}.png' for kind in ('pred', 'truth', 'error')]
        pictures = [panel, *map(panel.with_name, kinds)]
        labels |= {panel.with_suffix('.npy')}
        labels |= {panel.with_suffix('.tif')} if georeference else set()
    written = [*pictures, *sorted(labels), *map(Path, [scores] if scores else [])]
    check_outputs(written, inputs, overwrite)


def files_of_scene(loading: Mapping) -> list[Path]:
    """Find the files that a scene is loaded from, also where only its name is given.

    Args:
        loading: Arguments of ``load_scene``; may be empty.
    """
    given = {kind: loading.get(kind) for kind in KINDS}
    root = loading.get('data_root') or ROOT
    if loading.get('scene') not in SCENES:
        return files_among(given.values(), root)
    try:
        return [path for path, _ in find_sources(loading['scene'], Path(root), given).values()]
    except DataError:  # its files are not here, and cannot be written over
        return []


def files_among(values: Iterable[Any], root: str | Path = '') -> list[Path]:
    """Find the files in what scenes and labels are given as: names, files, pairs, arrays."""
    firsts = [value[0] if isinstance(value, tuple | list) else value for value in values]
    paths = [Path(root, first) for first in firsts if isinstance(first, str | Path)]
    return [path for path in paths if path.is_file()]


@contextmanager
def open_scores(
    path: str | Path | None, shape: tuple[int, int, int]
) -> Iterator[np.ndarray | None]:
    """Yield a memory-mapped array ``(H, W, K)`` that becomes a ``.npy`` file; None for none."""
    if path is None:
        yield None
        return
    with replacing(path) as part:
        scores = np.lib.format.open_memmap(part, 'w+', np.float16, shape)
        if hasattr(os, 'posix_fallocate'):  # a page that the disk has no room for ends the process
            with open(part, 'rb+') as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
        yield scores
        scores.flush()


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
    ending, data = path.suffix.lower(), io.BytesIO()
    if ending == '.npy':
        np.save(data, labels)
    elif ending == '.mat':
        scipy.io.savemat(data, {'labels': labels}, do_compression=True)
    else:
        height, width = labels.shape
        about = {'count': 1, 'dtype': labels.dtype.name, 'nodata': 0, 'compress': 'deflate'}
        with import_rasterio().open(
            data, 'w', 'GTiff', width, height, **about, **(georeference or {})
        ) as file:
            file.write(labels, 1)
            file.write_colormap(1, dict(enumerate([(0, 0, 0), *map(tuple, palette)])))
    write_bytes(data.getvalue(), path)
