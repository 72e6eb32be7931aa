"""Pictures that are read by windows: files as large as they like, and what is known of their place.

Each window of a raster file is handed to the config's own loader as a small file of the same kind
(bits, bands, names, nodata). So a window holds what the loader makes of the whole file.
"""

import tempfile
import threading
import warnings
from contextlib import suppress
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .label_files import CACHE
from .pictures import UnreadableError
from .predictor import Predictor, show_loaded
from .scene_files import TIFF, import_rasterio

MAX_SIDE = 2048  # of a picture that is shown in place of a huge one


class Whole:
    """A picture that is loaded at once.

    Args:
        predictor: Reads it.
        path: The file.

    Attributes:
        shape: Height and width.
        place: Where it lies on Earth, as ``rasterio.open`` takes it; a plain picture has no place.

    Raises:
        UnreadableError: It is damaged.
    """

    place: dict | None = None

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.loaded = predictor.load(path)
        self.shape: tuple[int, int] = self.loaded['img'].shape[:2]

    def read(self, rows: slice, columns: slice) -> dict:
        """Return what the loader gives of a window; ``nodata`` ``(h, w)`` tells pixels without."""
        picture = self.loaded['img'][rows, columns].copy()
        found = {**self.loaded, 'img': picture}
        found['img_shape'] = found['ori_shape'] = picture.shape[:2]
        if 'nodata' in found:
            found['nodata'] = found['nodata'][rows, columns]
        return found

    def overview(self) -> tuple[np.ndarray, int]:
        """Return every n-th pixel, RGB, and n: for people to look at."""
        step = show_step(self.shape)
        return show_loaded(self.loaded['img'][::step, ::step]), step

    def close(self) -> None:
        """Forget it."""
        self.loaded = {}


class Raster:
    """A TIFF, or another file that GDAL reads by windows.

    Args:
        predictor: Its loader sees each window.
        path: The file.

    Attributes:
        shape: Height and width.
        place: Where it lies on Earth, as ``rasterio.open`` takes it; None without.

    Raises:
        UnreadableError: It is damaged.
    """

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.predictor, self.path = predictor, path
        self.file = open_raster_file(path)
        self.shape: tuple[int, int] = self.file.shape
        self.place = find_place(self.file)
        self.lock = threading.Lock()  # GDAL's files are for one thread at a time
        self.folder = tempfile.TemporaryDirectory()
        self.count = 0

    def read(self, rows: slice, columns: slice) -> dict:
        """Return what the loader gives of a window; ``nodata`` ``(h, w)`` tells pixels without."""
        pixels, missing = self._cut(rows, columns)
        found = self._load(pixels)
        if missing is not None:
            found.setdefault('nodata', missing)
        return found

    def overview(self) -> tuple[np.ndarray, int]:
        """Return every n-th pixel, RGB, and n: for people to look at. All of the file is read.

        Raises:
            UnreadableError: It is damaged, or what the config's decoder would not show as it is.
        """
        step = show_step(self.shape)
        height, width = self.shape
        # whole blocks of the file at a time: each is unpacked once
        strip = step * ceil(self.file.block_shapes[0][0] / step)
        thin = [
            self._cut(slice(top, min(top + strip, height)), slice(0, width), step)[0]
            for top in range(0, height, strip)
        ]
        return show_loaded(self._load(np.concatenate(thin, 1), check=True)['img']), step

    def _cut(
        self, rows: slice, columns: slice, step: int = 1
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window: every n-th pixel ``(B, h, w)``, and which have no data."""
        window = (rows.start, rows.stop), (columns.start, columns.stop)
        rasterio = load_rasterio()
        with self.lock, rasterio.Env(GDAL_CACHEMAX=CACHE):
            try:
                # a copy: a view would keep all that was read
                pixels = self.file.read(window=window)[:, ::step, ::step].copy()
                return pixels, find_missing(self.file, window)
            except rasterio.errors.RasterioIOError as error:
                raise UnreadableError(f'it is damaged: {error}') from error

    def _load(self, pixels: np.ndarray, check: bool = False) -> dict:
        """Write ``(B, h, w)`` as a small file, and load it as the config does."""
        rasterio = load_rasterio()
        with self.lock:
            self.count += 1
            part = Path(self.folder.name, f'{self.count}.tif')
        _, height, width = pixels.shape
        like = self.file.profile
        profile = {key: like[key] for key in ('dtype', 'count', 'nodata')}
        colours = None
        with suppress(ValueError):  # only a picture of one band may have a table of colours
            colours = self.file.colormap(1)
            profile['photometric'] = 'palette'
        if like.get('photometric') in ('rgb', 'ycbcr'):
            profile['photometric'] = 'rgb'
        with rasterio.open(
            part, 'w', 'GTiff', width, height, interleave='pixel', **profile
        ) as file:
            if colours:
                file.write_colormap(1, colours)  # before the pixels, or it is left out
            else:
                file.colorinterp = self.file.colorinterp
            file.write(pixels)
            for band, name in enumerate(self.file.descriptions, 1):
                if name:
                    file.set_band_description(band, name)
        try:
            loaded = self.predictor.load(part, check)
        finally:
            part.unlink()
        return {**loaded, 'img_path': str(self.path)}

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        self.folder.cleanup()


class About(NamedTuple):
    """What the first bytes of a picture tell."""

    shape: tuple[int, int] | None = None  # height and width; None if it is no picture
    place: dict | None = None  # on Earth, as rasterio.open takes it; None if it does not say
    by_windows: bool = False  # whether it is read by windows


def look_at(path: Path) -> About:
    """Look at a file: a TIFF, or what Pillow takes for a bomb, is read by windows if it can be."""
    if path.suffix.lower() in TIFF:
        return _as_raster(path) or _as_picture(path) or About()
    return _as_picture(path) or _as_raster(path) or About()


def _as_picture(path: Path) -> About | None:
    """Ask Pillow; None for what it takes for a bomb."""
    try:
        with Image.open(path) as image:
            return About((image.height, image.width))
    except Image.DecompressionBombError:
        return None
    except Exception:  # each format has its own kinds; who reads it says what is wrong
        return About()


def _as_raster(path: Path) -> About | None:
    """Ask rasterio; None where it is not installed, or does not open the file."""
    try:
        with open_raster_file(path) as file:
            # what a camera turned is not read by windows: Pillow refuses what is so large
            turned = file.tags().get('EXIF_Orientation', '1') != '1'
            return None if turned else About(file.shape, find_place(file), True)
    except (ImportError, UnreadableError):
        return None


def open_raster_file(path: Path) -> Any:
    """Open a file with rasterio.

    Raises:
        UnreadableError: It is damaged.
    """
    rasterio = load_rasterio()

    try:
        return rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise UnreadableError(str(error)) from error


def find_place(file: Any) -> dict | None:
    """Return where a raster lies on Earth, as ``rasterio.open`` takes it; None if nobody knows."""
    if file.crs is None and file.transform.is_identity:
        return None
    return {'crs': file.crs, 'transform': file.transform}


def find_missing(file: Any, window: Any = None) -> np.ndarray | None:
    """Find pixels without data: what the file declares, or its mask says. None if there is none.

    Returns:
        ``(h, w)``, bool: no band has data. What is transparent has, in a picture without a place.
    """
    if file.nodata is None and find_place(file) is None:
        return None
    if all('all_valid' in [flag.name for flag in flags] for flags in file.mask_flag_enums):
        return None
    missing = file.dataset_mask(window=window) == 0
    return missing if missing.any() else None


@cache
def load_rasterio() -> Any:
    """Import rasterio, which need not tell that a plain picture has no place on Earth.

    Raises:
        ImportError: It is not installed.
    """
    rasterio = import_rasterio()
    # once: contexts of warnings are not for threads
    warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
    return rasterio


def show_step(shape: tuple[int, int]) -> int:
    """Choose every how many pixels of a picture are shown."""
    return ceil(max(shape) / MAX_SIDE)
