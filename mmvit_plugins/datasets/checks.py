"""What must hold of data, before and while training: files exist, labels are classes."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..errors import DataError
from ..registry import TRANSFORMS
from .coco_checks import check_coco, check_coco_config
from .wrappers import leaf_configs, leaf_datasets

PROBED = 256  # JPEG files of a data set that are opened where not all are asked for

_CUB_LISTS = ('images.txt', 'image_class_labels.txt', 'train_test_split.txt')
_ALL_CARS = ('cars_annos.mat', 'car_ims/')
# Type of a data set -> its splits, the default first -> ways in which its files may lie under
# data_root; a slash ends the names of folders.
LAYOUTS: dict[str, dict[str, Sequence[Sequence[str]]]] = {
    'CUB': dict.fromkeys(('train', 'test'), [(*_CUB_LISTS, 'images/')]),
    'NABirds': dict.fromkeys(('train', 'test'), [(*_CUB_LISTS, 'classes.txt', 'images/')]),
    'OxfordIIITPet': {
        split: [(f'annotations/{split}.txt', 'images/')] for split in ('trainval', 'test')
    },
    'StanfordCars': {
        'train': [('devkit/cars_train_annos.mat', 'cars_train/'), _ALL_CARS],
        'test': [('devkit/cars_test_annos_withlabels.mat', 'cars_test/'), _ALL_CARS],
    },
}
# What else to say where the file is missing
TRAPS = {
    'devkit/cars_test_annos_withlabels.mat': ' (mind the underscore before withlabels, which some '
    'descriptions leave out; cars_test_annos.mat has no labels)',
}

# What a data set may lack -> where to correct it
LACKS = {
    'pictures': 'data_root',
    'annotation files': 'seg_map_path or seg_map_suffix',
}


def check_layouts(config: Mapping, labelled: bool = True) -> None:
    """Check the files of the data sets that a loader's config names, before any is built.

    Args:
        config: Of a data loader, or its ``dataset``, which may also repeat or join others.
        labelled: Whether annotation files must hold annotations.

    Raises:
        DataError: As :func:`check_layout` and :func:`check_coco_config`.
    """
    for leaf in leaf_configs(config):
        kind = leaf.get('type', '')
        kind = getattr(kind, '__name__', str(kind).rpartition('.')[2])  # a class or its name
        if kind in LAYOUTS:
            check_layout(kind, leaf.get('data_root') or '', leaf.get('split'))
        elif kind == 'CocoDataset':
            check_coco_config(leaf, labelled)


def check_layout(kind: str, root: str, split: str | None = None) -> None:
    """Check that the files and folders lie where a data set looks for them.

    Args:
        kind: A key of ``LAYOUTS``.
        root: The ``data_root``; what is not on local disks is left alone.
        split: The split that is read, by default the data set's own default.

    Raises:
        DataError: There is no such split, or files are missing; it says which are expected where.
    """
    splits = LAYOUTS[kind]
    split = next(iter(splits)) if split is None else split
    if split not in splits:
        raise DataError(f'{kind} has no split {split!r}: set split to one of {tuple(splits)}')
    if '://' in root:
        return
    folder = Path(root)
    lacking = {
        names: [name for name in names if not (folder / name).exists()] for names in splits[split]
    }
    names, missing = min(lacking.items(), key=lambda item: len(item[1]))
    if missing:
        where = str(folder) if folder.is_dir() else f'{folder}, a folder that is not there'
        others = ''.join(f' (or {", ".join(other)})' for other in lacking if other != names)
        some = f'; missing: {", ".join(missing)}' if len(missing) < len(names) else ''
        traps = ''.join(TRAPS.get(name, '') for name in missing)
        raise DataError(
            f'{kind} ({split}) needs {", ".join(names)}{others} in {where}{some}{traps}; put them '
            'there or set data_root'
        )


def check_pictures(paths: Sequence[str], what: str) -> None:
    """Check that pictures exist, reading each folder once.

    Args:
        paths: Where they should be; what is not on local disks is left alone.
        what: The data set in words, as ``the train data set``.

    Raises:
        DataError: Some are missing; it counts them and names the first.
    """
    if missing := _missing(paths):
        raise DataError(
            f'{what} lacks {len(missing)} of {len(paths)} pictures that it lists, the first is '
            f'{missing[0]}: put them there, or correct data_root'
        )


def _missing(paths: Iterable[str]) -> list[str]:
    folders: dict[str, set[str]] = {}
    missing = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = _files_in(folder)
        if name not in folders[folder] and '://' not in path:
            missing.append(path)
    return missing


def _files_in(folder: str) -> set[str]:
    if not os.path.isdir(folder):
        return set()
    with os.scandir(folder) as entries:  # says what is a file without asking for each, but links
        return {
            entry.name
            for entry in entries
            if (os.path.isfile(entry) if entry.is_symlink() else entry.is_file())
        }


def check_dataset(dataset: Any, name: str, complete: bool = False) -> None:
    """Check that a data set holds samples and that pictures and annotations it will load exist.

    Also warns of JPEG files that end too early: OpenCV fills them with grey and says nothing of it;
    and tells which boxes a detector will not see. The processes of a job share the work, so all of
    them must call; each folder is listed once, no file is asked for by itself.

    Args:
        dataset: A data set of any host, also one that wraps others.
        name: What it is for, as ``train``.
        complete: Open each JPEG file, with a bar of the progress; else ``PROBED`` of them, evenly
            spread over the data set.

    Raises:
        DataError: In all processes: it is empty, or pictures or annotation files are missing, or
            as :func:`check_coco`.
    """
    if len(dataset) == 0:
        raise empty_dataset(dataset, name)
    for leaf in leaf_datasets(dataset):
        if not hasattr(leaf, 'get_data_info') or getattr(leaf, 'backend_args', None):
            continue  # not a list of local files
        found: dict | Exception
        try:
            found = {kind: (len(paths), *paths[:1]) for kind, paths in _look(leaf, complete)}
        except OSError as error:
            found = DataError(
                f'the files of the {name} data set cannot be read ({error}): correct their rights, '
                'or data_root'
            )
        except Exception as error:  # the other processes must not wait for this one
            found = error
        parts = all_gather_object(found)
        for part in parts:
            if isinstance(part, Exception):
                raise part
        for kind, cure in LACKS.items():
            count, first = _sum(part[kind] for part in parts)
            if count:
                raise DataError(
                    f'the {name} data set lacks {count} of {len(leaf)} {kind}, the first is '
                    f'{first}: put them there, or correct {cure}'
                )
        count, first = _sum(part['truncated'] for part in parts)
        if count:
            looked = len(leaf) if complete else min(len(leaf), PROBED)
            print_log(
                f'{count} of {looked} pictures of the {name} data set that were looked at are cut '
                f'off, the first is {first}; their lower parts are read as grey'
                + ('' if looked == len(leaf) else '; DataCheckHook(complete=True) looks at each'),
                'current',
                logging.WARNING,
            )


def _sum(shares: Iterable[tuple]) -> tuple[int, str]:
    """Join how many paths each process found, and the first if there is one."""
    counts, firsts = zip(*((count, first) for count, *first in shares), strict=True)
    return sum(counts), next((first[0] for first in firsts if first), '')


def _look(leaf: Any, complete: bool) -> Iterator[tuple[str, list[str]]]:
    """Look at this process's share of the files of a data set; yield what is wrong, by kind."""
    rank, processes = get_dist_info()
    if rank == 0:
        check_coco(leaf)
    size = len(leaf)
    share = range(size * rank // processes, size * (rank + 1) // processes)  # of few folders
    # The boxes of all pictures at once would need gigabytes: only the paths are kept.
    infos = map(leaf.get_data_info, share)
    # '' for none
    paths = [(str(i.get('img_path') or ''), str(i.get('seg_map_path') or '')) for i in infos]
    yield 'pictures', _missing(image for image, _ in paths if image)
    loads_maps = _loads_maps(leaf)
    yield 'annotation files', _missing(path for _, path in paths if path and loads_maps)

    even = {*np.linspace(0, size - 1, PROBED).astype(int).tolist()}
    probed = share if complete else sorted(index for index in even if index in share)
    bar = ProgressBar(len(probed)) if complete and rank == 0 else None
    truncated = []
    for index in probed:
        image, _ = paths[index - share.start]
        if image.lower().endswith(('.jpg', '.jpeg')) and _ends_early(image):
            truncated.append(image)
        if bar:
            bar.update()
    yield 'truncated', truncated


def empty_dataset(dataset: Any, name: str = '') -> DataError:
    """Build the error for a data set without samples; it names where they were looked for."""
    leaf = next(leaf_datasets(dataset))
    try:
        check_coco(leaf)  # where it was emptied by its classes or filters, they say so
    except DataError as error:
        return error
    prefix = getattr(leaf, 'data_prefix', None) or {}
    places = [str(place) for place in prefix.values() if place]
    file = getattr(leaf, 'ann_file', '')
    where = (
        f'{file} with pictures in {places[0]}' if file and places else file or ' '.join(places[:1])
    )
    suffix = getattr(leaf, 'img_suffix', '')
    return DataError(
        f'the {name + " " if name else ""}data set ({type(leaf).__name__}) is empty: nothing found '
        f'in {where or "it"}'
        + (f' that ends in {suffix}' if suffix else '')
        + '; correct data_root, '
        'data_prefix or img_suffix, or put the data there'
    )


def _loads_maps(dataset: Any) -> bool:
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return any(
        type(step).__name__ == 'LoadAnnotations' and getattr(step, 'with_seg', True)
        for step in steps
    )


def _ends_early(path: str) -> bool:
    """Tell whether a JPEG file lacks its end marker."""
    if not os.path.isfile(path):  # missing, or not on local disks
        return False
    with open(path, 'rb') as file:
        file.seek(max(0, os.path.getsize(path) - 4096))  # some cameras append a few bytes
        return b'\xff\xd9' not in file.read()


@TRANSFORMS.register_module()
class CheckLabels:
    """Refuse a label map that holds labels which are no classes; goes after ``LoadAnnotations``.

    Reads ``gt_seg_map`` ``(H, W)`` and changes nothing. Without it, such a label ends in an error
    inside the loss, on a GPU in a device-side assertion, that names neither file nor value.

    Args:
        num_classes: Labels ``0 .. num_classes - 1`` are classes.
        ignore_index: The one further label that is allowed.

    Raises:
        DataError: On a call, names the file, the labels and how to repair it.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def __call__(self, results: dict) -> dict:
        """Return ``results`` as they came."""
        labels = results['gt_seg_map']
        # Masks of a byte a pixel; labels are sorted only where something is wrong.
        wrong = (labels >= self.num_classes) & (labels != self.ignore_index)
        if labels.dtype.kind == 'i':
            wrong |= (labels < 0) & (labels != self.ignore_index)
        if wrong.any():
            values, counts = np.unique(labels[wrong], return_counts=True)
            raise DataError(
                f'{results.get("seg_map_path", "the label map")} holds label {values[0]} '
                f'({counts[0]} pixels)'
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
