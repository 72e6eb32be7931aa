"""What must hold of annotation files in COCO's format, before and while a detector is trained.

mmdetection numbers labels in the order of the file's categories, not of the config's classes, and
leaves out what it cannot use without a word. So the file is read here once more, into arrays, as
it may hold a million boxes; no toolbox is needed.
"""

import gc
import json
import logging
import os
import sys
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from ..errors import DataError

SHOWN = 10  # names of classes in a message


@dataclass(frozen=True)
class CocoFile:
    """An annotation file's content, N pictures and M annotations, found free of contradictions.

    Args:
        path: The file.
        labelled: Whether it has a list of annotations; those of COCO's test sets have none.
        categories: Id -> name, in the file's order.
        names: ``(N,)`` file names of the pictures.
        sizes: ``(N, 2)`` width and height.
        pictures: ``(M,)`` which picture an annotation belongs to, as an index.
        kinds: ``(M,)`` which category, as an index.
        boxes: ``(M, 4)`` left, top, width, height.
        areas: ``(M,)``.
        ignored: ``(M,)`` whether an annotation says that it is to be left out.
    """

    path: str
    labelled: bool
    categories: dict[Hashable, str]
    names: list[str]
    sizes: np.ndarray
    pictures: np.ndarray
    kinds: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignored: np.ndarray


def read_coco(path: str) -> CocoFile | None:
    """Read an annotation file, one that has not changed only once.

    Args:
        path: The file, on a local disk.

    Returns:
        Its content, None for a file of videos or of panoptic segments, which is another format.

    Raises:
        DataError: It does not exist, is no JSON, or lacks or contradicts itself in something.
    """
    if not os.path.isfile(path):
        raise DataError(
            f'there is no annotation file {path}: put it there, or correct ann_file or data_root'
        )
    status = os.stat(path)
    return _read(path, status.st_mtime_ns, status.st_size)


def forget_files() -> None:
    """Free what was read."""
    _read.cache_clear()


@lru_cache(maxsize=4)  # by the looks before and after the data sets are built
def _read(path: str, *_: int) -> CocoFile | None:
    try:
        with open(path, encoding='utf-8') as file, _no_collection():
            content = json.load(file)
    except ValueError as error:  # of JSON, or of its encoding
        raise DataError(f'{path} is no JSON file ({error}): fetch or write it anew') from error
    if not isinstance(content, dict):
        raise DataError(
            f'{path} holds a {type(content).__name__}, COCO files hold an object with images, '
            'annotations and categories: correct ann_file'
        )
    if 'videos' in content:
        return None
    content = {'annotations': [], 'labelled': 'annotations' in content, **content}
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content.get(key), list):
            raise _lacks(path, key)
    images, annotations = content['images'], content['annotations']
    if _has(annotations, 'segments_info'):
        return None
    # LVIS names its pictures by their addresses only
    only_url = _has(images, 'coco_url') and not _has(images, 'file_name')
    name = 'coco_url' if only_url else 'file_name'
    image_ids, names, *sizes = _columns(path, 'images', images, 'id', name, 'width', 'height')
    category_ids, category_names = _columns(path, 'categories', content['categories'], 'id', 'name')
    ids, image_of, category_of, boxes, areas = _columns(
        path, 'annotations', annotations, 'id', 'image_id', 'category_id', 'bbox', 'area'
    )
    _unique(path, 'annotations', ids)
    return CocoFile(
        path=path,
        labelled=content['labelled'],
        categories=dict(zip(category_ids, category_names, strict=True)),
        names=names,
        sizes=np.stack(
            [
                _numbers(path, 'images', image_ids, key, values)
                for key, values in zip(('width', 'height'), sizes, strict=True)
            ],
            axis=1,
        ),
        pictures=_indices(path, ids, 'image_id', image_of, 'images', image_ids),
        kinds=_indices(path, ids, 'category_id', category_of, 'categories', category_ids),
        boxes=_numbers(path, 'annotations', ids, 'bbox', boxes, (4,)),
        areas=_numbers(path, 'annotations', ids, 'area', areas),
        ignored=np.array([bool(record.get('ignore')) for record in annotations], bool),
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage: while a million objects are made it is looked for again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _has(records: list, key: str) -> bool:
    """Tell whether the first record, and so probably each, has a key."""
    return bool(records) and isinstance(records[0], dict) and key in records[0]


def _lacks(path: str, key: str) -> DataError:
    return DataError(
        f'{path} has no list of {key}, COCO files have images, annotations and categories: '
        'correct ann_file, or convert the file'
    )


def _columns(path: str, kind: str, records: list, *keys: str) -> list[list]:
    """Turn a list of records into one list for each key."""
    try:
        return [[record[key] for record in records] for key in keys]
    except (KeyError, TypeError):
        number, record = next(
            (number, record)
            for number, record in enumerate(records)
            if not isinstance(record, dict) or any(key not in record for key in keys)
        )
        if not isinstance(record, dict):
            raise DataError(
                f'{path}: {kind}[{number}] is {record!r}, not an object with {", ".join(keys)}; '
                'correct the file'
            ) from None
        missing = ', '.join(key for key in keys if key not in record)
        count = sum(any(key not in other for key in keys) for other in records[number:])
        raise DataError(
            f'{path}: {kind}[{number}] has no {missing}'
            + (f', {count} of {len(records)} are like it' if count > 1 else '')
            + f'; each of the {kind} needs {", ".join(keys)}: add it'
        ) from None


def _unique(path: str, kind: str, ids: list) -> dict[Hashable, int]:
    """Map each id to its place."""
    places = {key: place for place, key in enumerate(ids)}
    if len(places) < len(ids):
        twice = next(key for place, key in enumerate(ids) if places[key] != place)
        raise DataError(
            f'{path}: {len(ids) - len(places)} of the {kind} have the id of another, the first is '
            f'{twice!r}; number them anew'
        )
    return places


def _indices(path: str, ids: list, key: str, values: list, kind: str, allowed: list) -> np.ndarray:
    """Replace ids of pictures or categories by their places in the list that defines them."""
    places = _unique(path, kind, allowed)
    found = np.array([places.get(value, -1) for value in values], np.int64)
    wrong = np.flatnonzero(found < 0)
    if len(wrong):
        value = values[wrong[0]]
        hint = f' (allowed are {_listed(allowed)})' if kind == 'categories' else ''
        raise DataError(
            f'{path}: the {key} of {len(wrong)} of {len(values)} annotations is not among the '
            f'{kind}; annotation {ids[wrong[0]]}, the first, has {value!r}{hint}: correct it, or '
            f'add what it names to the {kind}'
        )
    return found


def _numbers(
    path: str, kind: str, ids: list, key: str, values: list, shape: tuple[int, ...] = ()
) -> np.ndarray:
    """Turn a column into finite numbers, each row of a shape."""
    try:
        numbers = np.array(values) if values else np.zeros((0, *shape))
    except ValueError:  # rows of different lengths
        numbers = np.array(None)
    right = numbers.dtype.kind in 'iuf' and numbers.shape == (len(values), *shape)
    if right and np.isfinite(numbers).all():
        return numbers.astype(np.float64)
    bad = [place for place, value in enumerate(values) if not _is_number(value, shape)]
    if not bad:  # integers of more than 64 bits
        return np.array(values, np.float64)
    expected = f'{shape[0]} finite numbers' if shape else 'a finite number'
    raise DataError(
        f'{path}: {len(bad)} of the {kind} have a {key} that is not {expected}, the first is '
        f'{values[bad[0]]!r} with id {ids[bad[0]]}; correct or remove '
        + ('it' if len(bad) == 1 else 'them')
    )


def _is_number(value: Any, shape: tuple[int, ...]) -> bool:
    if shape:
        return (
            isinstance(value, list)
            and len(value) == shape[0]
            and all(_is_number(entry, ()) for entry in value)
        )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max  # false for NaN


def _listed(names: Iterable[Any]) -> str:
    """Some names, and how many more there are."""
    names = list(map(repr, names))  # the class 1 is not the class '1'
    more = f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''
    return ', '.join(names[:SHOWN]) + more


def _ids_of(file: CocoFile, classes: Sequence[str]) -> list[Hashable]:
    """List the categories that are classes, in the file's order, as mmdetection does."""
    wanted = set(classes)
    return [key for key, name in file.categories.items() if name in wanted]


def check_classes(
    file: CocoFile, classes: Sequence[str], category_ids: Iterable[Hashable] | None = None
) -> None:
    """Check that label i means class i.

    Args:
        file: The annotations.
        classes: Names, as the config's ``metainfo`` has them.
        category_ids: Category of each label, by default in mmdetection's way: the file's
            categories that are classes, in the file's order.

    Raises:
        DataError: Classes are not in the file, or labels would get the names of others.
    """
    known = set(file.categories.values())
    missing = [name for name in classes if name not in known]
    if missing:
        raise DataError(
            f'{file.path} has no category for {len(missing)} of the {len(classes)} classes '
            f'({_listed(missing)}), its categories are {_listed(file.categories.values())}; set '
            "the data set's metainfo=dict(classes=...) to names that it has"
        )
    if category_ids is None:
        category_ids = _ids_of(file, classes)
    order = [file.categories[key] for key in category_ids if key in file.categories]
    if order != list(classes):
        start = next(
            (i for i, (a, b) in enumerate(zip(order, classes, strict=False)) if a != b),
            min(len(order), len(classes)),
        )
        where = f' from label {start} on' if start else ''
        raise DataError(
            f'labels would get wrong names: metainfo lists the classes{where} as '
            f'{_listed(classes[start:])}, but they are numbered in the order of the categories of '
            f'{file.path}, {_listed(order[start:])}; list the classes in that order'
        )


def check_boxes(
    file: CocoFile,
    category_ids: Iterable[Hashable],
    filter_cfg: Mapping | None = None,
    test_mode: bool = False,
) -> list[tuple[int, str]]:
    """Find what mmdetection leaves out without a word.

    Args:
        file: The annotations.
        category_ids: Those of the data set's classes.
        filter_cfg: As of mmdetection's data set.
        test_mode: Likewise; nothing is filtered then.

    Returns:
        What there is to say: levels of ``logging`` and sentences.

    Raises:
        DataError: No picture is left.
    """
    if not file.names:
        raise DataError(f'{file.path} lists no pictures: correct ann_file, or convert the data')
    category_ids = set(category_ids)
    wanted = np.array([key in category_ids for key in file.categories], bool)
    known = wanted[file.kinds]
    given = known & ~file.ignored
    usable = given & _inside(file)
    count, picture = len(file.names), file.names.__getitem__
    boxed = np.bincount(file.pictures[usable], minlength=count) > 0
    annotated = np.bincount(file.pictures[known], minlength=count) > 0

    settings = {} if test_mode else filter_cfg or {}
    filters = settings.get('filter_empty_gt', False)
    least = settings.get('min_size', 0)
    left = (annotated | (not filters)) & (file.sizes.min(axis=1) >= least)
    if not left.any():
        raise DataError(
            f'no picture of {file.path} is left to train on: of {count}, {int(annotated.sum())} '
            f'have annotations of the classes and {int((file.sizes.min(axis=1) >= least).sum())} '
            f'have edges of min_size={least} or more; correct the annotations, metainfo or '
            'filter_cfg'
        )
    said = []
    if not known.all():
        every = list(file.categories.values())
        names = _listed(every[kind] for kind in np.unique(file.kinds[~known]))
        said.append(
            (
                logging.INFO,
                f'{int((~known).sum())} of {len(known)} annotations in {file.path} are left out, '
                f'as their categories are no classes of the config: {names}',
            )
        )
    dropped = np.flatnonzero(given & ~usable)
    if len(dropped):
        first = dropped[0]
        box = ', '.join(f'{number:g}' for number in file.boxes[first])
        said.append(
            (
                logging.WARNING,
                f'{len(dropped)} of {len(known)} boxes in {file.path} are left out, as they lie '
                'outside of their picture, are less than a pixel wide or high, or have an area of '
                f'0; the first is [{box}] in {picture(file.pictures[first])}',
            )
        )
    empty = ~boxed
    if file.labelled and empty.any():
        some = f'{int(empty.sum())} of {count} pictures in {file.path} have no box that is used'
        out = int((empty & ~annotated).sum())
        if filters:
            stay = int(empty.sum()) - out
            how = f'filter_empty_gt leaves out {out} of them' + (
                f', but not the {stay} whose annotations cannot be used' if stay else ''
            )
        elif test_mode:
            how = 'they stay, as test_mode leaves out nothing'
        else:
            how = 'they stay; filter_cfg=dict(filter_empty_gt=True) would leave out ' + (
                'all of them' if out == empty.sum() else f'{out} of them'
            )
        said.append((logging.INFO, f'{some}: {how}'))
    return said


def _inside(file: CocoFile) -> np.ndarray:
    """Tell which boxes mmdetection uses: ``(M,)``."""
    start, extent = file.boxes[:, :2], file.boxes[:, 2:]
    seen = np.minimum(start + extent, file.sizes[file.pictures]) - np.maximum(start, 0)
    return (seen > 0).all(1) & (extent >= 1).all(1) & (file.areas > 0)


def check_coco_config(config: Mapping, labelled: bool = True) -> None:
    """Check the annotation file that the config of a ``CocoDataset`` names, before it is built.

    Its content is read by the main process only, its existence is checked by each. Files that are
    not on local disks are left alone.

    Args:
        config: Of the data set.
        labelled: Whether annotations are needed.

    Raises:
        DataError: As :func:`read_coco`, :func:`check_classes` and :func:`check_boxes`.
    """
    path = os.path.join(config.get('data_root') or '', config.get('ann_file') or '')
    if not config.get('ann_file'):
        raise DataError('CocoDataset has no ann_file: set it to the file of annotations')
    if '://' in path or config.get('backend_args'):
        return
    if os.path.isfile(path) and not is_main_process():
        return
    file = read_coco(path)
    if file is None:
        return
    if labelled and not file.labelled:
        raise _lacks(path, 'annotations')
    classes = (config.get('metainfo') or {}).get('classes')
    if isinstance(classes, list | tuple):  # may also be a file; without any they are COCO's
        check_classes(file, classes)
        check_boxes(
            file, _ids_of(file, classes), config.get('filter_cfg'), config.get('test_mode', False)
        )


def check_coco(dataset: Any) -> None:
    """Check a data set of mmdetection's that has read an annotation file; leave others alone.

    Also logs what of the file is left out.

    Raises:
        DataError: As :func:`read_coco`, :func:`check_classes` and :func:`check_boxes`.
    """
    path, ids = getattr(dataset, 'ann_file', None), getattr(dataset, 'cat_ids', None)
    if not hasattr(dataset, 'cat2label') or ids is None or not isinstance(path, str):
        return
    if not path.endswith('.json') or '://' in path or getattr(dataset, 'backend_args', None):
        return
    file = read_coco(path)
    if file is None:
        return
    test_mode = getattr(dataset, 'test_mode', False)
    if not file.labelled and not test_mode:
        raise _lacks(path, 'annotations')
    check_classes(file, dataset.metainfo['classes'], ids)
    for level, sentence in check_boxes(file, ids, getattr(dataset, 'filter_cfg', None), test_mode):
        print_log(sentence, 'current', level)
