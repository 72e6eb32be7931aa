"""Files of label maps and probabilities: with the names of the classes, and where they lie."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..writing import replacing, write_bytes
from .scene_files import import_rasterio
from .store import Store

NO_DATA = 255  # label of pixels without data; 65535 where that is a class
CACHE = 64  # MiB that GDAL may keep
BLOCK = 256  # side of the blocks of a GeoTIFF
NAMES = '.aux.xml'  # where GDAL and QGIS look for names of classes, beside a GeoTIFF


def kind_of_labels(count: int) -> tuple[str, int]:
    """Choose the type of labels, and the label of pixels without data."""
    return ('uint8', NO_DATA) if count <= NO_DATA else ('uint16', 65535)


def label_paths(name: str, out: Path, georeferenced: bool) -> list[Path]:
    """List the files of a label map: a PNG, or a GeoTIFF and its names."""
    stem = str(out / 'labels' / name)
    return [Path(stem + end) for end in (('.tif', '.tif' + NAMES) if georeferenced else ('.png',))]


def probability_path(name: str, out: Path, georeferenced: bool) -> Path:
    """Name the file of probabilities."""
    return Path(f'{out / "probabilities" / name}{".tif" if georeferenced else ".npz"}')


def write_labels(
    path: Path, labels: Store, classes: Sequence[str], palette: Sequence, place: dict | None
) -> None:
    """Write labels ``(H, W)``, which are the classes' numbers from 0, in either kind of file.

    A PNG stays grey, as OpenCV shows colours in place of the labels of a table of colours; its
    text ``classes`` is JSON: a list of ``label``, ``class`` and ``colour``.

    Args:
        path: ``.png``, or ``.tif`` beside which ``.tif.aux.xml`` goes.
        labels: uint8 or uint16.
        classes: Their names, in the file.
        palette: Their RGB colours, in the file.
        place: Of a GeoTIFF, as ``rasterio.open`` takes it.
    """
    if path.suffix == '.png':
        table = [
            {'label': label, 'class': str(name), 'colour': [int(c) for c in palette[label]]}
            for label, name in enumerate(classes)
        ]
        text = PngInfo()
        text.add_text('classes', json.dumps(table))
        with replacing(path, sync=False) as part:
            Image.fromarray(labels.array).save(part, 'PNG', pnginfo=text)
        return
    kind = labels.array.dtype.name
    about = {'count': 1, 'dtype': kind, 'nodata': kind_of_labels(len(classes))[1]}
    with (
        import_rasterio().Env(GDAL_CACHEMAX=CACHE),
        replacing(path, sync=False) as part,
        _create(part, labels.array.shape, {**about, **(place or {})}) as file,
    ):
        if kind == 'uint8':
            file.write_colormap(1, {k: tuple(map(int, c)) for k, c in enumerate(palette)})
        file.set_band_description(1, 'class')
        file.update_tags(1, **{f'class_{k}': name for k, name in enumerate(classes)})
        for window, top, bottom, left, right in _blocks(labels.array.shape):
            file.write(labels.array[top:bottom, left:right], 1, window=window)
            labels.release()
    names = ''.join(f'<Category>{escape(str(name))}</Category>' for name in classes)
    xml = (
        f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{names}</CategoryNames>'
        '</PAMRasterBand></PAMDataset>\n'
    )
    write_bytes(xml.encode(), path.with_name(path.name + NAMES), sync=False)


def write_probabilities(
    path: Path, values: Store, classes: Sequence[str], place: dict | None
) -> None:
    """Write probabilities ``(K, H, W)``, float16, NaN where there are no data.

    Args:
        path: ``.npz``, of arrays ``probabilities`` and ``classes``, or ``.tif``, whose bands have
            the names of the classes.
        values: float16.
        classes: Names of what the K layers are.
        place: Of a GeoTIFF, as ``rasterio.open`` takes it.
    """
    if path.suffix == '.npz':
        with replacing(path, sync=False) as part, open(part, 'wb') as stream:
            np.savez_compressed(stream, probabilities=values.array, classes=np.array(classes, str))
        return
    count, *shape = values.array.shape
    # GDAL's float32 of 16 bits is what other programs call float16
    about = {'count': count, 'dtype': 'float32', 'nbits': 16, 'nodata': np.nan, 'zlevel': 1}
    with (
        import_rasterio().Env(GDAL_CACHEMAX=CACHE),
        replacing(path, sync=False) as part,
        _create(part, shape, {**about, 'interleave': 'band', **(place or {})}) as file,
    ):
        for band, name in enumerate(classes, 1):
            file.set_band_description(band, str(name))
        for band in range(count):
            for window, top, bottom, left, right in _blocks(shape):
                block = values.array[band, top:bottom, left:right]
                file.write(block.astype(np.float32), band + 1, window=window)
                values.release()


def _create(path: Path, shape: Sequence[int], about: dict) -> Any:
    height, width = shape
    if min(shape) >= BLOCK:
        about = {**about, 'tiled': True, 'blockxsize': BLOCK, 'blockysize': BLOCK}
    options = {'compress': 'deflate', 'bigtiff': 'if_safer', **about}
    return import_rasterio().open(path, 'w', 'GTiff', width, height, **options)


def _blocks(shape: Sequence[int]) -> Iterator[tuple]:
    """Go through an array by windows that fit a file's blocks."""
    height, width = shape
    for top in range(0, height, BLOCK):
        bottom = min(top + BLOCK, height)
        for left in range(0, width, 8 * BLOCK):
            right = min(left + 8 * BLOCK, width)
            yield ((top, bottom), (left, right)), top, bottom, left, right
