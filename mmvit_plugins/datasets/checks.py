"""What must hold of data, before and while training: files exist, labels are classes."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_dist_info
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..errors import DataError, listed
from .classes import Labels
from .coco_checks import check_coco, check_coco_config
from .folders import SUFFIXES, check_class_folders, check_entries, find_unnamed
from .layouts import LAYOUTS, check_layout
from .names import check_inside
from .probing import Probe
from .settings import check_settings
from .wrappers import leaf_configs, leaf_datasets

PROBED = 256  # samples of a data set that are looked at where not all are asked for

# of all hosts' data sets
SETTINGS = ('data_root', 'data_prefix', 'metainfo', 'filter_cfg', 'indices')
# What a data set may lack -> where to correct it
LACKS = {
    'pictures': 'data_root',
    'annotation files': 'seg_map_path or seg_map_suffix; data without labels need a pipeline '
    'without LoadAnnotations, and format_only=True and output_dir in their evaluator',
}


def check_layouts(config: Mapping, labelled: bool = True) -> None:
    """Check the files of the data sets that a loader's config names, before any is built.

    Args:
        config: Of a data loader, or its ``dataset``, which may also repeat or join others.
        labelled: Whether annotation files must hold annotations.

    Raises:
        DataError: As :func:`check_layout`, :func:`check_coco_config` and :func:`check_entries`, or
            a setting or the names of the classes are none.
    """
    for leaf in leaf_configs(config):
        check_settings({key: leaf.get(key) for key in SETTINGS})
        if leaf.get('indices') in (0, []):  # of which mmengine can make no data set
            raise DataError(f'indices is {leaf["indices"]}: give at least one sample')
        kind = leaf.get('type', '')
        kind = getattr(kind, '__name__', str(kind).rpartition('.')[2])  # a class or its name
        if kind in LAYOUTS:
            check_layout(kind, leaf.get('data_root') or '', leaf.get('split'))
        elif kind == 'CocoDataset':
            check_coco_config(leaf, labelled)
        elif not leaf.get('backend_args'):
            _check_places(leaf, kind)


def _check_places(leaf: Mapping, kind: str) -> None:
    """Check the list of pictures that a config names, or else their folder."""
    root, prefix = leaf.get('data_root') or '', leaf.get('data_prefix') or ''
    images, maps = prefix, None
    if isinstance(prefix, Mapping):
        images, maps = prefix.get('img_path') or '', prefix.get('seg_map_path')
    names = leaf.get('ann_file')
    if names and maps and isinstance(names, str):  # mmsegmentation, which only asserts it
        path = os.path.join(root, names)
        if '://' not in path and not os.path.exists(path):
            raise DataError(f'there is no file {path}, which lists the pictures: correct ann_file')
    folder = os.path.expanduser(os.path.join(root, images))
    if not names and folder and os.path.isdir(folder):
        check_entries(folder)
        if kind in ('CustomDataset', 'ImageNet') and leaf.get('with_label', True):
            check_class_folders(folder)


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


def _missing(paths: Iterable[str], folders: dict[str, set[str]] | None = None) -> list[str]:
    folders = {} if folders is None else folders
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


def check_dataset(
    dataset: Any, name: str, complete: bool = False, outputs: int | None = None
) -> list[str]:
    """Check that a data set holds samples and that pictures and annotations it will load exist.

    Some samples are also opened: damaged files end the run now and not after days, and label maps
    must be maps, of their pictures' size. It warns of files that end too early, which OpenCV fills
    with grey, of labels that are no classes, and of files without a partner. The processes of a job
    share the work, so all of them must call; each folder is listed once.

    Args:
        dataset: A data set of any host, also one that wraps others.
        name: What it is for, as ``train``.
        complete: Open each sample, with a bar of the progress; else ``PROBED`` of them, evenly
            spread over the data set.
        outputs: How many classes the model tells apart, where known.

    Returns:
        Sentences that belong beside its scores: classes that do not occur, ignored pixels.

    Raises:
        DataError: In all processes: it is empty; pictures or annotation files are missing, damaged,
            or named outside of the data's folders; label maps cannot be used; labels are no
            classes, or would get the names of others; or as :func:`check_coco`.
    """
    if not hasattr(dataset, '__len__'):
        raise DataError(f'{dataset!r} is no data set: give one that has been built')
    if len(dataset) == 0:
        raise empty_dataset(dataset, name)
    said = []
    for leaf in leaf_datasets(dataset):
        if not hasattr(leaf, 'get_data_info') or getattr(leaf, 'backend_args', None):
            continue  # not a list of local files
        found: dict | Exception
        labels = Labels(leaf)
        try:
            looks = _look(leaf, name, complete, labels)
            found = {kind: (len(paths), *paths[:1]) for kind, paths in looks}
        except OSError as error:
            found = DataError(
                f'the files of the {name} data set cannot be read ({error}): correct their rights, '
                'or data_root'
            )
        except Exception as error:  # the other processes must not wait for this one
            found = error
        parts = all_gather_object((found, labels))
        for part, _ in parts:
            if isinstance(part, Exception):
                raise part
        kinds = parts[0][0]
        _tell(leaf, name, complete, {kind: _sum(part[kind] for part, _ in parts) for kind in kinds})
        labels = Labels(leaf)
        labels.join(other for _, other in parts)
        labels.check(f'the {name} data set', outputs if name == 'train' else None)
        said += _tell_classes(leaf, name, complete, labels, outputs)
    return said


def _tell_classes(
    leaf: Any, name: str, complete: bool, labels: Labels, outputs: int | None
) -> list[str]:
    """Tell which classes do not occur; return what belongs beside the scores.

    Raises:
        DataError: A loss would meet labels that are none of the model's classes.
    """
    maps = hasattr(leaf, 'reduce_zero_label')  # mmsegmentation's; mmdetection's are of stuff
    if not labels.counts or (labels.of_pictures and maps):
        return []
    known = labels.of_pictures or not maps or complete or len(leaf) <= PROBED
    some = '' if known else f' in the {PROBED} label maps that were looked at'
    ignored = {255, getattr(leaf, 'ignore_index', 255)}
    wrong = [
        x for x in labels.counts if x not in ignored and x >= max(outputs or 0, len(labels.names))
    ]
    if name == 'train' and maps and outputs and wrong:
        raise DataError(
            f'label maps of the train data set hold the label {min(wrong)}, the model has classes '
            f'0 to {outputs - 1}: set num_classes, map labels with label_map or metainfo, or set '
            'reduce_zero_label=True where 0 means no class'
        )
    said, missing = [], labels.missing()
    if missing:
        said.append(
            f'{len(missing)} of {len(labels.names)} classes do not occur in the {name} data set'
            f'{some}: {listed(missing)}'
        )
    share = labels.share(ignored) if maps else 0
    if share:
        said.append(f'{share:.1%} of the pixels of the {name} data set{some} are ignored')
    if name == 'train' and missing:
        hint = '; nothing is learned of them: compare the names (metainfo) with the labels'
        if maps and set(labels.counts) - {0} == {255}:
            hint = (
                '; its label maps hold 0 and 255 alone, and 255 is ignored: where it means a '
                'class, save it as 1'
            )
            known = True
        level = logging.WARNING if known else logging.INFO
        print_log(said[0] + hint, 'current', level)
    return said


def _tell(leaf: Any, name: str, complete: bool, found: Mapping[str, tuple[int, str]]) -> None:
    """Raise or warn of what is wrong, by kind; each has a number and the first of the files."""
    for kind, cure in LACKS.items():
        count, first = found[kind]
        if count:
            raise DataError(
                f'the {name} data set lacks {count} of {len(leaf)} {kind}, the first is {first}: '
                f'put them there, or correct {cure}'
            )
    looked = len(leaf) if complete else min(len(leaf), PROBED)
    some = f'of {looked} %s of the {name} data set that were looked at'
    more = '' if looked == len(leaf) else '; DataCheckHook(complete=True) looks at each'
    count, first = found['damaged']
    if count:
        raise DataError(
            f'{count} {some % "pictures"} cannot be read, the first is {first}: they are empty, '
            f'damaged or no pictures, replace them or leave them out{more}'
        )
    count, first = found['unlabelled']
    if count == looked and name == 'train':
        raise DataError(
            f'none {some % "label maps"} has a labelled pixel, the first is {first}: all pixels '
            'are ignored (255), so there is nothing to learn; correct the maps, '
            'reduce_zero_label or label_map'
        )
    texts = {
        'truncated': f'{some % "pictures"} are cut off, the first is %s; their lower parts are '
        f'read as grey{more}',
        'unlabelled': f'{some % "label maps"} have no labelled pixel, all being ignored (255), the '
        f'first is %s{more}',
        'foreign': f'{some % "label maps"} hold labels that are none of the classes and not '
        f'ignored (255), the first is %s; they count in no score{more}',
        'without partner': f'files of the {name} data set have no partner and are left out, the '
        f'first is %s; pictures end in {getattr(leaf, "img_suffix", "")}, their label maps in '
        f'{getattr(leaf, "seg_map_suffix", "")}',
        'left out': f'pictures of the {name} data set are left out for their ending, the first is '
        f'%s; it reads those that end in {", ".join(sorted(getattr(leaf, "extensions", ())))}',
    }
    for kind, text in texts.items():
        count, first = found[kind]
        if count:
            print_log(f'{count} {text % first}', 'current', logging.WARNING)


def _sum(shares: Iterable[tuple]) -> tuple[int, str]:
    """Join how many paths each process found, and the first if there is one."""
    counts, firsts = zip(*((count, first) for count, *first in shares), strict=True)
    return sum(counts), next((first[0] for first in firsts if first), '')


def _look(leaf: Any, name: str, complete: bool, labels: Labels) -> Iterator[tuple[str, list[str]]]:
    """Look at this process's share of the files of a data set; yield what is wrong, by kind."""
    rank, processes = get_dist_info()
    if rank == 0:
        check_coco(leaf)
    size = len(leaf)
    share = range(size * rank // processes, size * (rank + 1) // processes)  # of few folders
    # The boxes of all pictures at once would need gigabytes: only the paths are kept.
    paths = []
    for index in share:
        info = leaf.get_data_info(index)
        paths.append(_paths(info))
        labels.add(info, paths[-1][0])
    probe = Probe(leaf, labels)
    folders = [getattr(leaf, 'data_root', ''), *(getattr(leaf, 'data_prefix', None) or {}).values()]
    folders = [folder for folder in folders if isinstance(folder, str) and folder]
    if folders:
        named = (path for pair in paths for path in pair if path)
        check_inside(named, folders, f'the {name} data set')
    listings: dict[str, set[str]] = {}
    yield 'pictures', _missing((image for image, _ in paths if image), listings)
    yield 'left out', _left_out(leaf, share, listings)
    yield 'annotation files', _missing(path for _, path in paths if path and probe.loads_maps)
    yield 'without partner', _without_partner(leaf) if rank == 0 and probe.loads_maps else []

    even = {*np.linspace(0, size - 1, PROBED).astype(int).tolist()}
    probed = share if complete else sorted(index for index in even if index in share)
    bar = ProgressBar(len(probed)) if complete and rank == 0 else None
    found: dict[str, list[str]] = {
        kind: [] for kind in ('damaged', 'truncated', 'unlabelled', 'foreign')
    }
    for index in probed:
        for kind, path in probe.look(index):
            found[kind].append(path)
        if bar:
            bar.update()
    yield from found.items()


def _left_out(leaf: Any, share: range, listings: Mapping[str, set[str]]) -> list[str]:
    """Find pictures that a data set of class folders passes over for their ending."""
    extensions = getattr(leaf, 'extensions', None)
    if not extensions or getattr(leaf, 'ann_file', '') or not share:
        return []
    before = leaf.get_data_info(share.start - 1) if share.start else {}  # of the share before
    other = os.path.dirname(_paths(before)[0])
    return sorted(
        os.path.join(folder, file)
        for folder, files in listings.items()
        if folder != other
        for file in files
        if file.lower().endswith(SUFFIXES) and not file.lower().endswith(tuple(extensions))
    )


def _paths(info: Mapping) -> tuple[str, str]:
    """Return picture and label map of a sample, '' for none."""
    return str(info.get('img_path') or ''), str(info.get('seg_map_path') or '')


def _without_partner(leaf: Any) -> list[str]:
    """Find pictures and label maps that a data set which lists its folder passes over."""
    prefix = getattr(leaf, 'data_prefix', None) or {}
    images, maps = prefix.get('img_path'), prefix.get('seg_map_path')
    suffix = getattr(leaf, 'seg_map_suffix', '')
    part = getattr(leaf, 'ann_file', '') or getattr(leaf, '_indices', None) is not None
    if part or not (images and maps and suffix):
        return []
    named = [path for index in range(len(leaf)) for path in _paths(leaf.get_data_info(index))]
    return [*find_unnamed(images, SUFFIXES, named), *find_unnamed(maps, suffix, named)]


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
