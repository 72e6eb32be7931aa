"""Masks of COCO files: the forms in which mmdetection and pycocotools can read them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import DataError

FORMS = (
    'polygons (lists of 6 or more numbers, x and y in turn) or an RLE (size, which is [height, '
    'width] of the picture, and counts, which fill it)'
)


def loads_masks(pipeline: Any) -> bool:
    """Tell whether a pipeline loads masks.

    Args:
        pipeline: Built, or as a config has it.
    """
    steps: Sequence = getattr(pipeline, 'transforms', pipeline) or ()
    return any(
        step.get('with_mask') if isinstance(step, Mapping) else getattr(step, 'with_mask', False)
        for step in steps
    )


def check_masks(path: str, entries: Iterable[Mapping], images: Mapping) -> list[str]:
    """Check the masks of annotations.

    Args:
        path: The file, for messages.
        entries: The annotations that are used.
        images: Id -> entry of a picture.

    Returns:
        What is left out, in sentences.

    Raises:
        DataError: Some have no mask, or one in another form, which would end the run.
    """
    unused = []
    for entry in entries:
        image, mask = images[entry['image_id']], entry.get('segmentation')
        if not mask or not _is_readable(mask, image):
            text = repr(mask)
            raise DataError(
                f'{path}: the annotation {entry["id"]} of {image["file_name"]} has segmentation='
                f'{text if len(text) < 80 else text[:76] + "..."}, and the pipeline loads masks: '
                f'give {FORMS}, or take a detector of boxes alone, as '
                'configs/detection/afformer_tiny_retinanet_1x_coco.py'
            )
        if isinstance(mask, list) and not any(len(p) >= 6 and len(p) % 2 == 0 for p in mask):
            unused.append(entry)
    if not unused:
        return []
    return [
        f'{len(unused)} masks in {path} are left out, as no polygon of them has 3 corners; the '
        f'first is that of annotation {unused[0]["id"]}'
    ]


def _is_readable(mask: Any, image: Mapping) -> bool:
    if isinstance(mask, list):
        return all(isinstance(polygon, list) and _are_numbers(polygon) for polygon in mask)
    if not isinstance(mask, dict) or mask.get('size') != [image['height'], image['width']]:
        return False
    counts = mask.get('counts')
    if isinstance(counts, list):  # pycocotools writes beyond its memory where they are too many
        whole = set(map(type, counts)) <= {int} and min(counts, default=-1) >= 0
        return whole and sum(counts) == math.prod(mask['size'])
    return isinstance(counts, str) and bool(re.fullmatch('[0-o]+', counts))


def _are_numbers(values: list) -> bool:
    return set(map(type, values)) <= {int, float} and math.isfinite(sum(values))
