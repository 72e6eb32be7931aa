"""Reading image cubes and label maps: MATLAB, NumPy, ENVI and GeoTIFF files.

Shapes are always ``(H, W)`` and ``(H, W, B)`` with ``B`` bands, whatever order the file has.
"""

import importlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io

from ...errors import DataError

ENVI_TYPES = {1: 'u1', 2: 'i2', 3: 'i4', 4: 'f4', 5: 'f8', 12: 'u2', 13: 'u4', 14: 'i8', 15: 'u8'}
# The order of a raw file's axes, and how they are turned into (lines, samples, bands)
ENVI_ORDERS = {'bsq': ('bls', (1, 2, 0)), 'bil': ('lbs', (0, 2, 1)), 'bip': ('lsb', (0, 1, 2))}
ENVI_DATA = ('.img', '.raw', '.dat', '.bin', '.bsq', '.bil', '.bip')
HDF5_SIGNATURE = b'\x89HDF\r\n\x1a\n'


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


def list_variables(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the arrays of numbers in a file.

    Raises:
        DataError: The file is missing, damaged or of no known kind.
        ImportError: The file needs h5py or rasterio, which is not installed.
    """
    return {name: variable.shape for name, variable in _variables(Path(path)).items()}


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
    path = Path(path)
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
    return _choose(Path(path), variable, 3, None)


def read_georeference(path: str | Path) -> dict[str, Any] | None:
    """Read where on Earth a picture lies, for GeoTIFF and ENVI files.

    Returns:
        ``crs`` (WKT, None if unknown) and ``transform`` (six numbers in the order of
        ``affine.Affine``), as ``rasterio.open`` takes them for writing; None where the file says
        neither.

    Raises:
        ImportError: The file says it, but rasterio is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ('.tif', '.tiff'):
        header = None if kind in ('.mat', '.npy', '.npz') else _envi_header(path)
        if header is None or 'map info' not in _envi_fields(header):
            return None
        path = _envi_data(path, header)
    with _open_raster(path) as source:
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
        if variable not in variables:
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
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:  # each library raises its own kinds
        reason = ' '.join(f'{type(error).__name__}: {error}'.split())
        raise DataError(
            f'{path} cannot be read ({reason}): it is damaged, cut off or not what its name says; '
            'fetch it again'
        ) from error


def _variables(path: Path) -> dict[str, _Variable]:
    """List the arrays of numbers in a file."""
    if not path.is_file():
        raise DataError(f'there is no file {path}: correct the path or put it there')
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


def _numpy(path: Path) -> dict[str, _Variable]:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    return {path.stem: _Variable(array.shape, lambda: array)} if array.dtype.kind in 'biuf' else {}


def _numpy_archive(path: Path) -> dict[str, _Variable]:
    def load(name: str) -> np.ndarray:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]

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

    with _open_raster(path) as source:
        shape = (source.height, source.width, source.count)
        dtype = np.result_type(*source.dtypes)
    return {path.stem: _Variable(shape, lambda: LazyArray(path, shape, dtype, read))}


def _envi(path: Path) -> dict[str, _Variable]:
    header = _envi_header(path)
    if header is None:
        raise DataError(
            f'{path} is of no known kind: allowed are .mat, .npy, .npz, .tif and ENVI files, whose '
            'header (.hdr) lies beside them'
        )
    fields, data = _envi_fields(header), _envi_data(path, header)
    try:
        lines, samples, bands = (int(fields[name]) for name in ('lines', 'samples', 'bands'))
        dtype = np.dtype(ENVI_TYPES[int(fields['data type'])])
        order, turn = ENVI_ORDERS[fields['interleave'].lower()]
        offset = int(fields.get('header offset', 0))
    except (KeyError, ValueError) as error:
        raise DataError(
            f'the header {header} lacks a usable entry ({error}): it must give lines, samples, '
            f'bands, data type (one of {", ".join(map(str, ENVI_TYPES))}) and interleave (bsq, bil '
            'or bip)'
        ) from error
    dtype = dtype.newbyteorder('>' if fields.get('byte order', '0') == '1' else '<')
    if fields.get('file compression', '0') == '1':
        raise DataError(f'{data} is compressed, which is not read: save it uncompressed')
    promised = offset + lines * samples * bands * dtype.itemsize
    if data.stat().st_size < promised:
        raise DataError(
            f'{data} is cut off: it has {data.stat().st_size} bytes, its header promises '
            f'{promised}; fetch it again or correct {header.name}'
        )
    shape = tuple({'l': lines, 's': samples, 'b': bands}[axis] for axis in order)
    return {
        data.stem: _Variable(
            (lines, samples, bands),
            lambda: np.memmap(data, dtype, 'r', offset, shape).transpose(turn),
        )
    }


def _envi_header(path: Path) -> Path | None:
    """Find the header of an ENVI file, which may be given by either of its two files."""
    if path.suffix.lower() == '.hdr':
        return path
    names = (path.name + '.hdr', path.name + '.HDR', path.stem + '.hdr', path.stem + '.HDR')
    return next((file for file in map(path.with_name, names) if file.is_file()), None)


def _envi_data(path: Path, header: Path) -> Path:
    """Find the raw file of a header, unless it is what was given."""
    if path != header:
        return path
    for file in sorted(header.parent.iterdir()):
        stem = file.stem if file.suffix.lower() in ENVI_DATA else file.name
        if file.is_file() and file != header and header.stem in (file.name, stem):
            return file
    raise DataError(
        f'the raw file of {header} is missing: {header.stem} is looked for beside it, plain or '
        f'with {", ".join(ENVI_DATA)}'
    )


def _envi_fields(header: Path) -> dict[str, str]:
    text = header.read_text(encoding='latin-1')
    if not text.startswith('ENVI'):
        raise DataError(f'{header} is no ENVI header: its first line must be ENVI')
    pairs = re.findall(r'^\s*([^=;\n]+?)\s*=\s*(\{[^}]*\}|[^\n]*)', text, re.MULTILINE)
    return {name.lower(): value.strip() for name, value in pairs}


@contextmanager
def _open_raster(path: Path) -> Iterator[Any]:
    rasterio = _needed('rasterio', path)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            yield source


def _needed(package: str, path: Path) -> Any:
    """Import an optional package or say how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f'{path} is read with {package}, which is not installed: pip install {package}'
        ) from error
