"""Label maps, which hold a class in each pixel: what they must be, in their files and once loaded.

mmsegmentation casts what it has read to one byte and looks no further: a label of 256 becomes 0, a
picture in colour is cut as if it were labels. So the files are looked at too; for most that is a
look at their first bytes.
"""

import os

import numpy as np

from ..errors import DataError
from ..registry import TRANSFORMS

PNG, JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
TIFF = (b'II', b'MM')


@TRANSFORMS.register_module()
class CheckLabels:
    """Refuse a label map that cannot be trained on; goes right after ``LoadAnnotations``.

    Reads ``gt_seg_map`` ``(H, W)`` and changes nothing. Without it, a label that is no class ends
    in an error inside the loss, on a GPU in a device-side assertion, that names neither file nor
    value; and a map of another size than its picture is cut elsewhere than the picture.

    Args:
        num_classes: Labels ``0 .. num_classes - 1`` are classes.
        ignore_index: The one further label that is allowed.

    Raises:
        ValueError: An argument is no whole number.
        DataError: On a call, names the file, what is wrong and how to repair it.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        for name, value in (('num_classes', num_classes), ('ignore_index', ignore_index)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f'CheckLabels: {name} is {value!r}, give a whole number')
        if num_classes < 1:
            raise ValueError(f'CheckLabels: num_classes is {num_classes}, give 1 or more')
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __call__(self, results: dict) -> dict:
        """Return ``results`` as they came."""
        check_map(results)
        labels, path = results['gt_seg_map'], results.get('seg_map_path') or 'the label map'
        # Masks of a byte a pixel; labels are sorted only where something is wrong.
        wrong = (labels >= self.num_classes) & (labels != self.ignore_index)
        if labels.dtype.kind == 'i':
            wrong |= (labels < 0) & (labels != self.ignore_index)
        if wrong.any():
            values, counts = np.unique(labels[wrong], return_counts=True)
            raise DataError(
                f'{path} holds label {values[0]} ({counts[0]} pixels)'
                + (f' and {len(values) - 1} more like it' if len(values) > 1 else '')
                + f', allowed are 0 to {self.num_classes - 1} and {self.ignore_index} (ignored); '
                'set num_classes to the number of classes, map labels with label_map or metainfo, '
                'or set reduce_zero_label=True where 0 means no class'
            )
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_classes={self.num_classes}, '
            f'ignore_index={self.ignore_index})'
        )


def check_map(results: dict) -> None:
    """Refuse a label map that is none, whatever its labels.

    Args:
        results: Of a pipeline: ``gt_seg_map``, where known with ``seg_map_path`` and the sizes that
            the picture has or had, ``ori_shape`` and ``img_shape``.

    Raises:
        DataError: It is a picture in colour or a single row, of another size than its picture, or
            what its file holds does not survive being read.
    """
    labels, path = results['gt_seg_map'], results.get('seg_map_path') or 'the label map'
    if labels.ndim == 3:
        raise DataError(
            f'{path} has {labels.shape[2]} channels, as a picture in colour, one is needed, the '
            'number of the class: turn each colour into that number'
        )
    if labels.ndim != 2:
        raise DataError(
            f'{path} is a single row or column of pixels, which mmsegmentation cannot take for a '
            'map: leave it out'
        )
    sizes = [tuple(results[key][:2]) for key in ('ori_shape', 'img_shape') if key in results]
    if sizes and labels.shape not in sizes:
        picture = results.get('img_path') or 'its picture'
        raise DataError(
            f'{path} is {_size(labels.shape)} pixels, {picture} is {_size(sizes[0])} (height x '
            'width, turned as its EXIF tag says): give the label map of this picture, in its size'
        )
    if os.path.isfile(path):
        check_file(path)


def check_file(path: str) -> None:
    """Refuse a file on a local disk whose labels do not survive being read as bytes.

    Raises:
        DataError: It is a JPEG, or holds numbers that no byte holds.
    """
    with open(path, 'rb') as file:
        start = file.read(25)
    if start.startswith(JPEG):
        raise DataError(
            f'{path} is a JPEG, which changes labels where they meet: save label maps as PNG, '
            'from the source that they were made from'
        )
    if start.startswith(TIFF) or (start.startswith(PNG) and start[24:] == b'\x10'):  # 16 bits
        _check_values(path)


def _check_values(path: str) -> None:
    import mmcv  # which comes with the host that loads maps

    with open(path, 'rb') as file:
        data = file.read()
    try:
        values = mmcv.imfrombytes(data, flag='unchanged', backend='pillow')
    except Exception:  # left to the loader of the config, which may be another
        return
    with np.errstate(invalid='ignore'):
        lost = values[(values != values.astype(np.uint8)) & (values != -1)]
    if lost.size:
        raise DataError(
            f'{path} ({values.dtype}) holds {lost[0]}, and labels are read as bytes, in which that '
            'is another class: number the classes from 0 to 254, 255 is ignored, and save them '
            'with 8 bits'
        )


def _size(shape: tuple[int, ...]) -> str:
    return ' x '.join(map(str, shape))
