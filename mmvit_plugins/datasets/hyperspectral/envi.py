"""ENVI files: a header of text, and the raw numbers beside it."""

import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ..names import check_inside

TYPES = {1: 'u1', 2: 'i2', 3: 'i4', 4: 'f4', 5: 'f8', 12: 'u2', 13: 'u4', 14: 'i8', 15: 'u8'}
# The order of a raw file's axes, and how they are turned into (lines, samples, bands)
ORDERS = {'bsq': ('bls', (1, 2, 0)), 'bil': ('lbs', (0, 2, 1)), 'bip': ('lsb', (0, 1, 2))}
DATA = ('.img', '.raw', '.dat', '.bin', '.bsq', '.bil', '.bip')


class EnviFile(NamedTuple):
    """What a header says of its raw file."""

    data: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]  # as the axes lie in the file
    turn: tuple[int, ...]  # their order for (lines, samples, bands)

    def open(self) -> np.ndarray:
        """Map it into memory as ``(lines, samples, bands)``."""
        return np.memmap(self.data, self.dtype, 'r', self.offset, self.shape).transpose(self.turn)


def read_header(path: Path) -> EnviFile:
    """Read the header of an ENVI file, given by it or by the raw file.

    Raises:
        DataError: There is no header or raw file, an entry is missing or makes no sense, or the raw
            file is shorter than the header promises.
    """
    header = find_header(path)
    if header is None:
        raise DataError(
            f'{path} is of no known kind: allowed are .mat, .npy, .npz, .tif and ENVI files, whose '
            'header (.hdr) lies beside them'
        )
    fields, data = read_fields(header), find_data(path, header)
    if named := fields.get('data file', '').strip('{}"\' '):
        check_inside([str(header.parent / named)], [str(header.parent)], f'the header {header}')
        if Path(named).name != data.name:
            raise DataError(
                f'the header {header} names the raw file {named}, but {data.name} is what lies '
                'beside it: correct the header or rename the file'
            )
    try:
        lines, samples, bands = (int(fields[name]) for name in ('lines', 'samples', 'bands'))
        dtype = np.dtype(TYPES[int(fields['data type'])])
        order, turn = ORDERS[fields['interleave'].lower()]
        offset = int(fields.get('header offset', 0))
        if min(lines, samples, bands) < 1 or offset < 0:
            raise ValueError(f'{lines} lines, {samples} samples, {bands} bands, offset {offset}')
    except (KeyError, ValueError) as error:
        raise DataError(
            f'the header {header} lacks a usable entry ({error}): it must give lines, samples, '
            f'bands, data type (one of {", ".join(map(str, TYPES))}) and interleave (bsq, bil or '
            'bip)'
        ) from error
    dtype = dtype.newbyteorder('>' if fields.get('byte order', '0') == '1' else '<')
    if fields.get('file compression', '0') == '1':
        raise DataError(f'{data} is compressed, which is not read: save it uncompressed')
    shape = tuple({'l': lines, 's': samples, 'b': bands}[axis] for axis in order)
    promised = offset + math.prod(shape) * dtype.itemsize
    if data.stat().st_size < promised:
        raise DataError(
            f'{data} is cut off: it has {data.stat().st_size} bytes, its header promises '
            f'{promised}; fetch it again or correct {header.name}'
        )
    return EnviFile(data, dtype, offset, shape, turn)


def find_header(path: Path) -> Path | None:
    """Find the header of an ENVI file, which may be given by either of its two files."""
    if path.suffix.lower() == '.hdr':
        return path
    names = (path.name + '.hdr', path.name + '.HDR', path.stem + '.hdr', path.stem + '.HDR')
    return next((file for file in map(path.with_name, names) if file.is_file()), None)


def find_data(path: Path, header: Path) -> Path:
    """Find the raw file of a header, unless it is what was given.

    Raises:
        DataError: There is none beside it.
    """
    if path != header:
        return path
    for file in sorted(header.parent.iterdir()):
        stem = file.stem if file.suffix.lower() in DATA else file.name
        if file.is_file() and file != header and header.stem in (file.name, stem):
            return file
    raise DataError(
        f'the raw file of {header} is missing: {header.stem} is looked for beside it, plain or '
        f'with {", ".join(DATA)}'
    )


def read_fields(header: Path) -> dict[str, str]:
    """Read the entries of a header, names in small letters.

    Raises:
        DataError: It is no ENVI header.
    """
    text = header.read_text(encoding='latin-1')
    if not text.startswith('ENVI'):
        raise DataError(f'{header} is no ENVI header: its first line must be ENVI')
    pairs = re.findall(r'^\s*([^=;\n]+?)\s*=\s*(\{[^}]*\}|[^\n]*)', text, re.MULTILINE)
    return {name.lower(): value.strip() for name, value in pairs}
