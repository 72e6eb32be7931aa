"""Looks at single samples of a data set, in the way in which its pipeline will read them."""

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from ..errors import DataError
from .classes import Labels
from .label_maps import CheckLabels, check_map

ORIENTATION = 0x0112  # the EXIF tag of a camera that was turned; from 5 on, by a quarter
# Ending -> what ends a file of that kind that is whole
MARKERS = {'.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9', '.png': b'IEND'}


class Probe:
    """Looks at samples.

    Args:
        dataset: One that holds samples itself.
        counted: Counts the labels of the maps that are looked at.
    """

    def __init__(self, dataset: Any, counted: Labels) -> None:
        self._counted = counted
        steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
        self._load = _first(step for step in steps if type(step).__name__.startswith('LoadImage'))
        loads_map = _first(
            step
            for step in steps
            if type(step).__name__ == 'LoadAnnotations' and getattr(step, 'with_seg', True)
        )
        self.loads_maps = loads_map is not None
        self._load_map = getattr(loads_map, '_load_seg_map', None)
        self._check = _first(step for step in steps if isinstance(step, CheckLabels))
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        self._ignored = {255, getattr(self._check or dataset, 'ignore_index', 255)}
        of_classes = classes and hasattr(dataset, 'reduce_zero_label')  # mmdetection's are of stuff
        self._highest = len(classes) - 1 if of_classes else np.inf
        self._info = dataset.get_data_info

    def look(self, index: int) -> Iterator[tuple[str, str]]:
        """Look at a sample; yield kinds of fault and the files that have them.

        Kinds are ``damaged`` and ``truncated`` pictures, and label maps that are ``unlabelled``,
        holding no class, or ``foreign``, holding others than the data set's.

        Raises:
            DataError: The label map is damaged or cannot be used.
        """
        info = self._info(index)
        image, path = (str(info.get(key) or '') for key in ('img_path', 'seg_map_path'))
        size = None
        if os.path.isfile(image):  # else missing, or not on local disks
            whole = not _ends_early(image)
            size = self._size(image) if whole else self._loaded_size(image)
            if size is None:
                yield 'damaged', image
            elif not whole:
                yield 'truncated', image
        if path and self._load_map and os.path.isfile(path):
            yield from self._look_at_map(info, image, path, size)

    def _look_at_map(
        self, info: dict, image: str, path: str, size: tuple[int, ...] | None
    ) -> Iterator[tuple[str, str]]:
        labels = _read_map(self._load_map, info, path)
        if size and size != labels.shape:
            size = self._loaded_size(image)  # in the pipeline's own way, to be sure
        results = {'gt_seg_map': labels, 'img_path': image, 'seg_map_path': path}
        if size:
            results['ori_shape'] = size
        check_map(results)
        if self._check:
            self._check(results)
        self._counted.add_map(labels)
        ignored = np.isin(labels, list(self._ignored))
        if ignored.all():
            yield 'unlabelled', path
        elif ((labels > self._highest) & ~ignored).any():
            yield 'foreign', path

    def _size(self, path: str) -> tuple[int, ...] | None:
        """Return the height and width of a picture by its header; None if it cannot be read."""
        try:
            with Image.open(path) as image:
                if image.getexif().get(ORIENTATION, 1) < 5:
                    return image.height, image.width
        except Exception:  # of many kinds; other decoders know other formats
            pass
        return self._loaded_size(path)

    def _loaded_size(self, path: str) -> tuple[int, ...] | None:
        """Return the size in which the pipeline loads a picture.

        None if that fails, nothing if it loads none.
        """
        if self._load is None:
            return ()
        try:
            return tuple(self._load({'img_path': path, 'img_id': 0})['img'].shape[:2])
        except Exception:  # each decoder raises its own kinds
            return None


def _first(found: Iterator) -> Any:
    return next(found, None)


def _read_map(load: Any, info: dict, path: str) -> np.ndarray:
    try:
        load(info)
    except Exception as error:  # each decoder raises its own kinds
        reason = re.sub(r' <_io\.\S+ object at \w+>', '', ' '.join(str(error).split()))
        raise DataError(
            f'the label map {path} cannot be read ({reason}): it is empty, damaged, cut off or no '
            'picture; fetch or write it anew'
        ) from error
    return info['gt_seg_map']


def _ends_early(path: str) -> bool:
    """Tell whether a JPEG or PNG file lacks its end marker."""
    marker = MARKERS.get(os.path.splitext(path)[1].lower())
    if marker is None:
        return False
    with open(path, 'rb') as file:
        file.seek(max(0, os.path.getsize(path) - 4096))  # some cameras append a few bytes
        return marker not in file.read()
