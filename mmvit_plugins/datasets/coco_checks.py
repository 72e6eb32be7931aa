"""Checks of annotation files in COCO's format, before and while a detector is trained.

mmdetection numbers labels in the order of the file's categories, not of the config's classes, and
leaves out what it cannot use without a word. It reads the file with pycocotools, which is a
``json.load`` and an index and checks nothing; so the file is read once more, without a toolbox.
"""

import json
import logging
import math
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ..errors import DataError, listed
from .coco_masks import check_masks, loads_masks
from .wrappers import leaf_configs


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < math.inf  # neither bool nor NaN


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


_ID = 'a number or text', lambda value: type(value) in (int, str)
_TEXT = 'text', lambda value: isinstance(value, str)
_NUMBER = 'a finite number', _is_number
# list -> what mmdetection reads of each of its entries
FORMAT: dict[str, dict[str, tuple[str, Callable[[Any], bool]]]] = {
    'images': {'id': _ID, 'file_name': _TEXT, 'width': _NUMBER, 'height': _NUMBER},
    'categories': {'id': _ID, 'name': _TEXT},
    'annotations': {
        **dict.fromkeys(('id', 'image_id', 'category_id'), _ID),
        'bbox': ('4 finite numbers', _is_box),
        'area': _NUMBER,
    },
}


@dataclass(frozen=True)
class CocoFile:
    """An annotation file's content, found free of contradictions.

    Attributes:
        path: The file.
        labelled: Whether it has a list of annotations; those of COCO's test sets have none.
        categories: Id -> name, in the file's order.
        images: Id -> entry, in the file's order.
        annotations: Entries.
    """

    path: str
    labelled: bool
    categories: dict[int | str, str]
    images: dict[int | str, dict]
    annotations: list[dict]


def read_coco(path: str) -> CocoFile:
    """Read an annotation file on a local disk.

    Raises:
        DataError: It does not exist, is no JSON, or lacks or contradicts itself in something.
    """
    if not os.path.isfile(path):
        raise DataError(
            f'there is no annotation file {path}: put it there, or correct ann_file or data_root'
        )
    try:
        content = json.loads(Path(path).read_text('utf-8'))
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror}): correct its rights') from error
    except (ValueError, RecursionError) as error:  # ValueError: of JSON, or of its encoding
        raise DataError(f'{path} is no JSON file ({error}): fetch or write it anew') from error
    if not isinstance(content, dict):
        raise DataError(
            f'{path} holds a {type(content).__name__}, COCO files hold an object with images, '
            'annotations and categories: correct ann_file'
        )
    lists = {kind: content.get(kind) for kind in FORMAT}
    if 'annotations' not in content:
        lists['annotations'] = []

    def refuse(kind: str, is_wrong: Callable[[Any], bool], what: str) -> None:
        wrong = [entry for entry in lists[kind] if is_wrong(entry)]
        if wrong:
            first = wrong[0]
            if isinstance(first, dict):  # without its mask
                first = {key: first[key] for key in FORMAT[kind] if key in first}
            raise DataError(
                f'{path}: {len(wrong)} of {len(lists[kind])} {kind} have {what}, the first is '
                f'{_SHORT.repr(first)}: correct the file, or leave out what is wrong'
            )

    for kind, entries in lists.items():
        if not isinstance(entries, list):
            raise _lacks(path, kind)
        refuse(kind, lambda entry: not isinstance(entry, dict), 'another form than an object')
        for key, (what, fits) in FORMAT[kind].items():
            refuse(
                kind,
                lambda entry, key=key, fits=fits: key not in entry or not fits(entry[key]),
                f'no {key} that is {what}',
            )
        seen: set[int | str] = set()
        refuse(
            kind,
            lambda entry, seen=seen: entry['id'] in seen or seen.add(entry['id']),
            'the id of another',
        )
    images, categories = ({e['id']: e for e in lists[kind]} for kind in ('images', 'categories'))
    for key, known, name in (
        ('image_id', images, 'images'),
        ('category_id', categories, f'categories, {_listed(categories)}'),
    ):
        refuse(
            'annotations',
            lambda entry, key=key, known=known: entry[key] not in known,
            f'{key} not among the {name}',
        )
    names = {key: entry['name'] for key, entry in categories.items()}
    return CocoFile(path, 'annotations' in content, names, images, lists['annotations'])


_SHORT = reprlib.Repr()
_SHORT.maxdict = 6


def _lacks(path: str, key: str) -> DataError:
    return DataError(
        f'{path} has no list of {key}, COCO files have images, annotations and categories: '
        'correct ann_file, or convert the file'
    )


def _listed(names: Iterable[Any]) -> str:
    return listed(names, repr)  # the class 1 is not the class '1'


def check_classes(file: CocoFile, classes: Sequence[str]) -> None:
    """Check that label i means class i.

    Args:
        file: The annotations.
        classes: Names, as the config's ``metainfo`` has them.

    Raises:
        DataError: Classes are not in the file, or labels would get the names of others.
    """
    known = file.categories.values()
    missing = [name for name in classes if name not in known]
    if missing:
        raise DataError(
            f'{file.path} has no category for {len(missing)} of the {len(classes)} classes '
            f'({_listed(missing)}), its categories are {_listed(known)}; set '
            "the data set's metainfo=dict(classes=...) to names that it has"
        )
    order = [name for name in known if name in classes]
    if order != list(classes):
        pairs = enumerate(zip(order, classes, strict=False))
        start = next((i for i, (a, b) in pairs if a != b), min(len(order), len(classes)))
        raise DataError(
            'labels would get wrong names: metainfo lists the classes from label '
            f'{start} on as {_listed(classes[start:])}, but they are numbered in the order of the '
            f'categories of {file.path}, {_listed(order[start:])}; list the classes in that order'
        )


def count_left_out(
    file: CocoFile, classes: Sequence[str], filter_empty: bool = False, min_size: float = 0
) -> list[str]:
    """Count what mmdetection leaves out without a word.

    Args:
        file: The annotations.
        classes: Names.
        filter_empty: Pictures without annotations of the classes are left out.
        min_size: So are those with an edge below it, in pixels.

    Returns:
        Sentences.

    Raises:
        DataError: No picture is left.
    """
    if not file.images:
        raise DataError(f'{file.path} lists no pictures: correct ann_file, or convert the data')
    wanted = {key for key, name in file.categories.items() if name in classes}
    known = [entry for entry in file.annotations if entry['category_id'] in wanted]
    annotated = {entry['image_id'] for entry in known}
    large = {
        key
        for key, image in file.images.items()
        if min(image['width'], image['height']) >= min_size
    }
    if not (large & annotated if filter_empty else large):
        raise DataError(
            f'no picture of {file.path} is left to train on: of {len(file.images)}, '
            f'{len(annotated)} have annotations of the classes and {len(large)} have edges of '
            f'min_size={min_size} or more; correct the annotations, metainfo or filter_cfg'
        )
    boxed, dropped = set(), []
    for entry in known:
        if not entry.get('ignore'):
            if _is_used(entry, file.images[entry['image_id']]):
                boxed.add(entry['image_id'])
            else:
                dropped.append(entry)
    total, count, said = len(file.annotations), len(file.images), []
    if len(known) < total:
        others = {entry['category_id'] for entry in file.annotations} - wanted
        names = _listed(name for key, name in file.categories.items() if key in others)
        said.append(
            f'{total - len(known)} of {total} annotations in {file.path} are left out, as their '
            f'categories are no classes of the config: {names}'
        )
    if dropped:
        picture = file.images[dropped[0]['image_id']]['file_name']
        said.append(
            f'{len(dropped)} of {total} boxes in {file.path} are left out, as they lie outside of '
            'their picture, are less than a pixel wide or high, or have an area of 0; the first '
            f'is {dropped[0]["bbox"]} in {picture}'
        )
    if file.labelled and len(boxed) < count:
        said.append(
            f'{count - len(boxed)} of {count} pictures in {file.path} have no box that is used'
            + f'; filter_empty_gt leaves out {count - len(annotated)} of them' * filter_empty
        )
    return said


def _is_used(entry: Mapping, image: Mapping) -> bool:
    """Tell whether mmdetection uses a box."""
    left, top, width, height = entry['bbox']
    return (
        min(left + width, image['width']) > max(left, 0)
        and min(top + height, image['height']) > max(top, 0)
        and min(width, height) >= 1
        and entry['area'] > 0
    )


def check_coco_config(config: Mapping, labelled: bool = True) -> None:
    """Check the annotation file that the config of a ``CocoDataset`` names, before it is built.

    Args:
        config: Of the data set; without classes, which are COCO's then, only the file is checked.
        labelled: Whether annotations are needed.

    Raises:
        DataError: As :func:`read_coco`, :func:`check_classes` and :func:`count_left_out`.
    """
    file = config.get('ann_file')
    if not file or not isinstance(file, str):
        what = f'ann_file={file!r}' if file else 'no ann_file'
        raise DataError(f'CocoDataset has {what}: set it to the file of annotations')
    path = os.path.join(config.get('data_root') or '', file)
    classes = (config.get('metainfo') or {}).get('classes')
    _look(path, classes if isinstance(classes, list | tuple) else None, labelled, config)


def check_scored(loader: Mapping, metrics: Sequence) -> None:
    """Check the file that a metric scores against: that of the data set, or one of its pictures.

    Args:
        loader: The config of a data loader.
        metrics: Configs of metrics; those with an ``ann_file`` of COCO's on a local disk count.

    Raises:
        DataError: As :func:`read_coco`, or it is of other pictures or classes than the data set.
    """
    leaves = [leaf for leaf in leaf_configs(loader) if leaf.get('ann_file')]
    for metric in metrics:
        path = metric.get('ann_file')
        kind = str(metric.get('type')).rpartition('.')[2]
        if kind != 'CocoMetric' or not isinstance(path, str) or '://' in path or len(leaves) != 1:
            continue
        own = os.path.join(leaves[0].get('data_root') or '', leaves[0]['ann_file'])
        if os.path.realpath(own) == os.path.realpath(path):
            continue  # is checked with the data set
        theirs, ours = read_coco(path), read_coco(own)
        scored, data = (
            {number: image['file_name'] for number, image in file.images.items()}
            for file in (theirs, ours)
        )
        if not data.items() <= scored.items():
            raise DataError(
                f'the scores are taken from {path}, which is of other pictures than the data '
                f'({own}): correct ann_file of the evaluator'
            )
        classes = (leaves[0].get('metainfo') or {}).get('classes') or ()
        known = theirs.categories.values()  # label i is scored as the i-th of the classes in it
        if [name for name in known if name in classes] != list(classes):
            raise DataError(
                f'the scores are taken from {path}, whose categories ({_listed(known)}) are not '
                f'those of the data in their order ({_listed(classes)}): correct ann_file of the '
                'evaluator'
            )
        if len(theirs.annotations) != len(ours.annotations):
            print_log(
                f'the scores are taken from {path}, which has {len(theirs.annotations)} '
                f'annotations, not from {own} of the data, which has {len(ours.annotations)}',
                'current',
                logging.WARNING,
            )


def check_coco(dataset: Any) -> None:
    """Check a data set that has read a file as mmdetection's ``CocoDataset`` does, no other.

    Also logs what of the file is left out.

    Raises:
        DataError: As :func:`read_coco`, :func:`check_classes` and :func:`count_left_out`.
    """
    for step in ('load_data_list', 'parse_data_info'):  # LVIS and panoptic files have others
        method = getattr(type(dataset), step, None)
        if method is None or method.__qualname__ != f'CocoDataset.{step}':
            return
    settings = vars(dataset)
    labelled = not settings['test_mode']
    for sentence in _look(dataset.ann_file, dataset.metainfo['classes'], labelled, settings):
        print_log(sentence, 'current')


def _look(
    path: str, classes: Sequence[str] | None, labelled: bool, settings: Mapping
) -> Sequence[str]:
    """Check a file for a data set's config or attributes; return what there is to say."""
    if '://' in path or settings.get('backend_args'):  # not on local disks
        return ()
    filters = {} if settings.get('test_mode') else settings.get('filter_cfg') or {}
    min_size = filters.get('min_size', 0)
    if not _is_number(min_size):
        raise DataError(f'filter_cfg has min_size={min_size!r}: give a number of pixels')
    changed = os.stat(path).st_mtime_ns if os.path.isfile(path) else None
    has_annotations, said = _check(
        path,
        changed,
        classes and tuple(classes),
        filters.get('filter_empty_gt', False),
        min_size,
        not settings.get('test_mode'),
        loads_masks(settings.get('pipeline')),
    )
    if labelled and not has_annotations:
        raise _lacks(path, 'annotations')
    return said


@lru_cache(maxsize=8)  # the looks before and after a data set is built ask for the same
def _check(
    path: str,
    changed: int | None,
    classes: tuple | None,
    filter_empty: bool,
    min_size: float,
    trained: bool,
    masks: bool,
) -> tuple[bool, Sequence[str]]:
    file = read_coco(path)
    if classes is None:
        return file.labelled, ()
    check_classes(file, classes)
    said = count_left_out(file, classes, filter_empty, min_size)
    known = [
        entry for entry in file.annotations if file.categories[entry['category_id']] in classes
    ]
    used = [
        entry
        for entry in known
        if not entry.get('ignore') and _is_used(entry, file.images[entry['image_id']])
    ]
    if trained and known and all(entry.get('iscrowd') for entry in used):
        raise DataError(
            f'no box of {path} is left to train on: of {len(known)} annotations of the classes, '
            f'{len(known) - len(used)} cannot be used, being outside of their pictures or less '
            f'than a pixel wide or high, and {len(used)} are crowds, which are ignored; correct '
            'bbox, area and iscrowd'
        )
    if trained and not known:
        said = [*said, f'{path} has no box of the classes: nothing is learned of them from it']
    if masks:
        said = [*said, *check_masks(path, used, file.images)]
    return file.labelled, said
