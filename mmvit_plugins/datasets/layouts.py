"""Where published data sets must have their files, and that no folder misleads what lists it."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError

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
