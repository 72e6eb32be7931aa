"""Reading image cubes and label maps: MATLAB, NumPy, ENVI and GeoTIFF files.

Shapes are always ``(H, W)`` and ``(H, W, B)`` with ``B`` bands, whatever order the file has.
"""

import importlib
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io

from ...errors import DataError
from ..names import check_inside
from . import envi

HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'
DRIVERS = dict.fromkeys(('.tif', '.tiff'), 'GTiff')  # of GDAL, which would try all it knows
# A file that claims more numbers than this, and this many for each of its bytes, is damaged:
# deflate packs 1032 of the same byte into one.
LARGE, PACKED = 2**30, 10_000


class LazyArray:
    """An array in a file, read by rows: ``array[r0:r1]`` gives an ndarray.

    Holds no open file, so that it may be used in several processes.

    Args:
        path: The file, for messages.
        shape: The shape, rows first.
        dtype: The type of the numbers.
        read: Called with the first row and the row after the last.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        dtype: np.dtype,
        read: Callable[[int, int], np.ndarray],
    ) -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._read = read

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not isinstance(rows, slice):
            raise TypeError(f'an array in a file is read by rows, array[r0:r1], not by {rows!r}')
        first, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise TypeError(f'an array in a file is read by rows side by side, not every {step}')
        if stop <= first:
            return np.empty((0, *self.shape[1:]), self.dtype)
        with _damaged(self.path):
            return self._read(first, stop)


class _Variable(NamedTuple):
    """An array of numbers in a file; ``open()`` gives what slices by rows."""

    shape: tuple[int, ...]
    open: Callable[[], Any]
    packed: bool = True  # whether the file may be smaller than its numbers


def list_variables(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays of numbers in a file.

    Raises:
        DataError: The file is missing, damaged or of no known kind.
        ImportError: The file needs h5py or rasterio, which is not installed.
    """
    return {name: variable.shape for name, variable in _variables(_as_path(path)).items()}


def read_variable(
    path: str | Path,
    variable: str | None = None,
    ndim: int | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Read an array of numbers from a file; a ``.npy`` or ENVI file stays memory-mapped.

    Args:
        path: A file that ``open_cube`` takes.
        variable: Its name in a ``.mat`` or ``.npz`` file. Not given: the only one that fits.
        ndim: 3 for a cube, 2 for a label map, which may also come as a cube of one band.
        size: Where several fit, those with these rows and columns are meant.

    Returns:
        ``(H, W)`` or ``(H, W, B)``, of the type that the file has.

    Raises:
        DataError: The file is missing, damaged or of no known kind, or no or several variables fit.
        ImportError: The file needs h5py or rasterio, which is not installed.
    """
    path = _as_path(path)
    array = _choose(path, variable, ndim, size)[:]
    return array[..., 0] if ndim == 2 and array.ndim == 3 else array


def open_cube(path: str | Path, variable: str | None = None) -> Any:
    """Open an image cube without reading it, where the format allows.

    ``.npy``, MATLAB v7.3, ENVI and GeoTIFF files are read as rows are asked for; an older ``.mat``
    and a ``.npz`` file are read at once.

    Args:
        path: ``.mat`` (v4 to v7.3), ``.npy``, ``.npz``, ``.tif``, or an ENVI file: the header or
            the raw file beside it.
        variable: Its name in a ``.mat`` or ``.npz`` file. Not given: the only cube in it.

    Returns:
        What has ``shape`` ``(H, W, B)`` and ``dtype``; ``cube[r0:r1]`` is ``(r1 - r0, W, B)``.

    Raises:
        DataError: As ``read_variable``.
        ImportError: As ``read_variable``.
    """
    return _choose(_as_path(path), variable, 3, None)


def read_georeference(path: str | Path) -> dict[str, Any] | None:
    """Read where on Earth a picture lies, for GeoTIFF and ENVI files.

    Returns:
        ``crs`` (WKT, None if unknown) and ``transform`` (six numbers in the order of
        ``affine.Affine``), as ``rasterio.open`` takes them for writing; None where the file says
        neither.

    Raises:
        DataError: The file is missing or damaged.
        ImportError: The file says it, but rasterio is not installed.
    """
    path = _as_path(path)
    _check_there(path)
    kind = path.suffix.lower()
    if kind not in ('.tif', '.tiff'):
        header = None if kind in ('.mat', '.npy', '.npz') else envi.find_header(path)
        if header is None or 'map info' not in envi.read_fields(header):
            return None
        path = envi.find_data(path, header)
    with _damaged(path), _open_raster(path) as source:
        if source.crs is None and source.transform.is_identity:
            return None
        return {
            'crs': source.crs and source.crs.to_wkt(),
            'transform': tuple(source.transform)[:6],
        }


def _choose(
    path: Path, variable: str | None, ndim: int | None, size: tuple[int, int] | None
) -> Any:
    """Open the variable that is asked for, or else the only one that fits."""
    variables = _variables(path)
    listing = ', '.join(f'{name} {times(found.shape)}' for name, found in variables.items())
    listing = f'it holds {listing}' if listing else 'it holds no arrays of numbers'
    wanted = {2: 'label map (H x W)', 3: 'cube (H x W x B)'}.get(ndim, 'array')
    if variable is not None:
        if not isinstance(variable, str) or variable not in variables:
            raise DataError(f'{path} has no variable {variable!r}: {listing}; name one of these')
        if not _fits(variables[variable].shape, ndim):
            raise DataError(f'{variable} in {path} is no {wanted}: {listing}; name another one')
        return _opened(path, variables[variable])
    fitting = {name: v for name, v in variables.items() if _fits(v.shape, ndim)}
    if size is not None:  # one that is transposed is taken too: the caller says that it is
        of_size, turned = (
            {name: v for name, v in fitting.items() if v.shape[:2] == wished}
            for wished in (size, size[::-1])
        )
        fitting = of_size or turned or fitting
    if not fitting:
        raise DataError(f'{path} holds no {wanted}: {listing}; give a file that has one')
    if len(fitting) > 1:
        raise DataError(
            f'{path} holds {len(fitting)} variables that could be the {wanted}: {listing}; name '
            "one as ('file', 'variable')"
        )
    return _opened(path, next(iter(fitting.values())))


def _fits(shape: tuple[int, ...], ndim: int | None) -> bool:
    one_band = ndim == 2 and len(shape) == 3 and shape[2] == 1
    return 0 not in shape and (ndim in (None, len(shape)) or one_band)


def times(shape: Sequence[int]) -> str:
    """Write a shape as sentences name it, such as 145 x 145 x 200."""
    return ' x '.join(map(str, shape))


def _opened(path: Path, variable: _Variable) -> Any:
    claimed, size = math.prod(variable.shape), path.stat().st_size
    if variable.packed and claimed > max(LARGE, PACKED * size):
        raise DataError(
            f'{path} claims to hold {times(variable.shape)} numbers in {size} bytes: it is damaged '
            'or cut off; fetch it again'
        )
    with _damaged(path):
        array = variable.open()
    if array.dtype.kind not in 'biuf':
        raise DataError(f'{path} holds numbers of type {array.dtype}: save real ones')
    return array


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Turn what the libraries raise on a broken file into one sentence."""
    try:
        yield
    except (DataError, ImportError):
        raise
    except MemoryError as error:
        raise DataError(
            f'{path} needs more memory than there is ({error}): give a part of the scene, or use a '
            'machine with more'
        ) from error
    except Exception as error:  # each library raises its own kinds
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise DataError(
            f'{path} cannot be read ({reason}): it is damaged, cut off or not what its name says; '
            'fetch it again'
        ) from error


def _as_path(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise DataError(f'a file is wanted, not {path!r}: give its path')
    return Path(path)


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise DataError(f'there is no file {path}: correct the path or put it there')


def _variables(path: Path) -> dict[str, _Variable]:
    """List the arrays of numbers in a file."""
    _check_there(path)
    readers = {
        '.mat': _matlab,
        '.npy': _numpy,
        '.npz': _numpy_archive,
        '.tif': _tiff,
        '.tiff': _tiff,
    }
    with _damaged(path):
        return readers.get(path.suffix.lower(), _envi)(path)


def _matlab(path: Path) -> dict[str, _Variable]:
    with path.open('rb') as file:
        start = file.read(512 + len(HDF5_SIGNATURE))
    if HDF5_SIGNATURE in (start[: len(HDF5_SIGNATURE)], start[512:]):
        return _hdf5(path)
    kinds = ('int', 'uint', 'double', 'single', 'logical')

    def load(name: str) -> np.ndarray:
        return scipy.io.loadmat(path, variable_names=[name])[name]

    return {
        name: _Variable(shape, lambda name=name: load(name))
        for name, shape, kind in scipy.io.whosmat(str(path))
        if kind.startswith(kinds)
    }


def _hdf5(path: Path) -> dict[str, _Variable]:
    """List a MATLAB v7.3 file, which holds its arrays with the axes reversed."""
    h5py = _needed('h5py', path)

    def read(name: str, first: int, stop: int) -> np.ndarray:
        with h5py.File(path, 'r') as file:
            return file[name][..., first:stop].T

    def lazy(name: str, shape: tuple[int, ...], dtype: np.dtype) -> LazyArray:
        return LazyArray(path, shape, dtype, lambda first, stop: read(name, first, stop))

    with h5py.File(path, 'r') as file:
        for name in file:
            _check_own(h5py, file, name, path)
        found = {
            name: (data.shape[::-1], data.dtype)
            for name, data in file.items()
            if isinstance(data, h5py.Dataset)
            and data.ndim > 1
            and data.dtype.kind in 'biuf'
            and data.attrs.get('MATLAB_class') != b'char'
        }
    return {
        name: _Variable(about[0], lambda name=name, about=about: lazy(name, *about))
        for name, about in found.items()
    }


def _check_own(h5py: Any, file: Any, name: str, path: Path) -> None:
    """Refuse an entry of an HDF5 file whose numbers lie in another file; none is opened for it."""
    link, entry = file.get(name, getlink=True), f'{path} ({name})'
    if isinstance(link, h5py.SoftLink):  # may lead through a group that is elsewhere
        steps = [part for part in link.path.split('/') if part]
        inner = ['/'.join(steps[: count + 1]) for count in range(len(steps))]
        for step in inner:
            link = file.get(step, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise DataError(f'{entry} is a link to {step}: save the numbers under their name')
    if isinstance(link, h5py.ExternalLink):
        check_inside([link.filename], (), entry)
    data = file[name]
    if isinstance(data, h5py.Dataset):
        named = [source for source, *_ in data.external or ()]
        if data.is_virtual:
            named += [source.file_name for source in data.virtual_sources()]
        check_inside([source for source in named if source != '.'], (), entry)


def _numpy(path: Path) -> dict[str, _Variable]:
    with path.open('rb') as file:
        if file.read(6) != b'\x93NUMPY':  # numpy would offer to unpickle it
            raise ValueError('it does not begin as .npy files do')
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if array.dtype.kind not in 'biuf':
        return {}
    return {path.stem: _Variable(array.shape, lambda: array, packed=False)}


def _numpy_archive(path: Path) -> dict[str, _Variable]:
    def load(name: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]

    if not zipfile.is_zipfile(path):
        raise ValueError('it is no zip file, as .npz files are')
    found = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            with archive.zip.open(f'{name}.npy') as file:
                version = np.lib.format.read_magic(file)
                header = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = header(file)
            if dtype.kind in 'biuf':
                found[name] = _Variable(shape, lambda name=name: load(name))
    return found


def _tiff(path: Path) -> dict[str, _Variable]:
    def read(first: int, stop: int) -> np.ndarray:
        with _open_raster(path) as source:
            rows = source.read(window=((first, stop), (0, source.width)))
        return rows.transpose(1, 2, 0)

    with path.open('rb') as file:
        if b'<VRTDataset' in file.read(1024):
            raise DataError(
                f'{path} is a VRT, which only names other files: give the file that holds the '
                'numbers, or let gdal_translate write one'
            )
    with _open_raster(path) as source:
        shape = (source.height, source.width, source.count)
        dtype = np.result_type(*source.dtypes)
    return {path.stem: _Variable(shape, lambda: LazyArray(path, shape, dtype, read))}


def _envi(path: Path) -> dict[str, _Variable]:
    file = envi.read_header(path)
    shape = tuple(file.shape[axis] for axis in file.turn)
    return {file.data.stem: _Variable(shape, file.open, packed=False)}


@contextmanager
def _open_raster(path: Path) -> Iterator[Any]:
    rasterio = _needed('rasterio', path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, driver=DRIVERS.get(path.suffix.lower(), 'ENVI')) as source:
            yield source


def _needed(package: str, path: Path) -> Any:
    """Import an optional package or say how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f'{path} is read with {package}, which is not installed: pip install {package}'
        ) from error
