"""Label maps: what they may hold, how they are read and what they are known by."""

import hashlib
from pathlib import Path

import numpy as np

from ...errors import DataError
from .reading import read_variable, times

MAX_LABEL = 65535  # larger ones are no classes and would only blow up the tables


def label_type(classes: int) -> type[np.unsignedinteger]:
    """Return the smallest type that holds labels 0 to ``classes``, as maps are written in."""
    return np.uint8 if classes <= 255 else np.uint16


def check_labels(values: np.ndarray, name: str) -> np.ndarray:
    """Return a label map ``(H, W)`` as an int64 copy.

    Args:
        values: Of any type of number.
        name: What holds them, as ``the label map in gt.mat``.

    Raises:
        DataError: It is no map, or holds what is no label.
    """
    try:
        values = np.asarray(values)
    except ValueError as error:
        raise DataError(f'{name} has rows of different length: give an array (H, W)') from error
    if values.ndim != 2:
        raise DataError(
            f'{name} has the shape {times(values.shape) or 1}, a label map is height x width: name '
            'the variable that holds it'
        )
    if values.dtype.kind in 'biuf':
        with np.errstate(invalid='ignore'):  # NaN is found to be none
            wrong = values[~((values >= 0) & (values <= MAX_LABEL) & (values % 1 == 0))]
    else:
        wrong = values.ravel()
    if wrong.size:
        raise DataError(
            f'{name} ({values.dtype}) holds {wrong[0]}, which is no label: allowed are whole '
            f'numbers, 0 for unlabelled or what is to be left out and 1 to K, at most {MAX_LABEL}; '
            'name the variable that holds the label map'
        )
    return np.array(values, np.int64, order='C')


def read_labels(
    path: Path, variable: str | None, shape: tuple[int, int, int], image: Path | str, finer: int = 1
) -> np.ndarray:
    """Read the label map of a cube.

    Args:
        path: The file.
        variable: Its name in the file; not given: the only one that fits.
        shape: ``(H, W, B)`` of the cube.
        image: What the cube is called.
        finer: The map may also have this many times the rows and columns; a pixel gets the label of
            more than half of its finer ones, else none.

    Returns:
        ``(H, W)``, int64.

    Raises:
        DataError: The file cannot be read, is of another size or holds what is no label.
    """
    array = read_variable(path, variable, 2, shape[:2])
    if finer > 1 and array.shape == (shape[0] * finer, shape[1] * finer):
        array = _majority(array, finer)
    check_size(array, f'the label map in {path}', shape, image)
    return check_labels(array, f'the label map in {path}')


def check_size(array: np.ndarray, name: str, shape: tuple[int, ...], image: Path | str) -> None:
    """Refuse a label map of another size than its cube.

    Args:
        array: The map.
        name: What holds it.
        shape: ``(H, W, B)`` of the cube.
        image: What the cube is called.

    Raises:
        DataError: Names both sizes.
    """
    if array.shape == shape[:2]:
        return
    if array.shape == shape[1::-1]:
        hint = 'one of the two is transposed, save it again with rows first'
    elif array.shape == shape[1:]:
        hint = 'the cube seems to have its bands first, save it again as H x W x B'
    else:
        hint = 'give files of the same scene'
    raise DataError(
        f'{name} is {times(array.shape)}, the cube in {image} is {times(shape[:2])} with '
        f'{shape[2]} bands: {hint}'
    )


def union(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Join the masks of training and test; where both have a label the training's counts."""
    return np.where(train > 0, train, test)


def labels_hash(labels: np.ndarray) -> str:
    """Return what a label map ``(H, W)`` is known by again: size and values, whatever the type."""
    data = np.ascontiguousarray(labels, np.int64)
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()


def _majority(array: np.ndarray, finer: int) -> np.ndarray:
    """Give each block of pixels the value of more than half of them, else 0."""
    height, width = array.shape[0] // finer, array.shape[1] // finer
    blocks = array.reshape(height, finer, width, finer).swapaxes(1, 2)
    blocks = np.sort(blocks.reshape(height, width, -1), -1)
    middle = blocks[..., finer**2 // 2]  # a value that fills more than half is there
    more = (blocks == middle[..., None]).sum(-1) * 2 > finer**2
    return np.where(more, middle, 0)
