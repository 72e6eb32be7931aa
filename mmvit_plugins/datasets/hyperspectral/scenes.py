"""Loading hyperspectral scenes, known ones or one's own files, with their classes and colours."""

import colorsys
import logging
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ...errors import DataError
from ..settings import check_settings
from .catalogue import SCENES, Palette, SceneInfo
from .finding import Source, find_sources
from .labels import read_labels, union
from .reading import open_cube, read_georeference
from .synthetic import generate_scene

# The first class colours of Spectral Python, for scenes that bring none
SPY_COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)),
    *((200, 100, 0), (0, 200, 100), (100, 0, 200), (200, 0, 100), (100, 200, 0), (0, 100, 200)),
    *((150, 75, 75), (75, 150, 75), (75, 75, 150), (255, 100, 100), (100, 255, 100)),
    *((100, 100, 255), (255, 150, 75)),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene in memory. Its arrays are shared and read-only.

    Attributes:
        name: Key of ``SCENES``, or the stem of the cube's file.
        cube: ``(H, W, B)``, float32.
        labels: ``(H, W)``, int64: 0 = unlabelled, 1 to K; or None.
        train_labels: The same for a fixed training part, or None.
        test_labels: The same for a fixed test part, or None.
        classes: Names of classes 1 to K.
        palette: Their colours; unlabelled is black.
        rgb_bands: Bands of ``cube`` for a picture in false colour.
        georeference: As ``read_georeference`` gives it.
    """

    name: str
    cube: np.ndarray
    labels: np.ndarray | None
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    classes: tuple[str, ...]
    palette: Palette
    rgb_bands: tuple[int, int, int]
    georeference: dict[str, Any] | None


# A scene stays as long as someone holds it: the data sets of a run share one.
_LOADED: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def load_scene(
    scene: str | None = None,
    data_root: str | Path = 'data/hyperspectral',
    image: Source | None = None,
    labels: Source | None = None,
    train_labels: Source | None = None,
    test_labels: Source | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | str | None = None,
    bands: Sequence[int] | None = None,
    drop_bands: Sequence[int] | None = None,
    label_map: Mapping[int, int] | None = None,
) -> Scene:
    """Load a scene by name or from files; the same scene is loaded once a process.

    Pixels with a band that is not finite become 0 and unlabelled, with a warning.

    Args:
        scene: A key of ``SCENES``. Its files are looked for in ``data_root`` and in the folder
            there that has the scene's name, whatever the case. ``'synthetic'`` needs no files.
        data_root: The folder of the scenes.
        image: File of the cube, or ``(file, variable)``; in place of the scene's own.
        labels: The same of the label map. Without it, and with both parts given, their union.
        train_labels: The same of a fixed training part.
        test_labels: The same of a fixed test part.
        classes: Names of classes 1 to K, after ``label_map``.
        palette: A colour (red, green, blue, 0 to 255) for each class, or ``'spy'`` for those of
            ``default_palette``, which scenes without colours of their own get anyway.
        bands: The bands to keep, from 0, in this order.
        drop_bands: The bands to leave out; instead of ``bands``.
        label_map: Class -> new number, 0 to leave it out. Classes with the same number become one,
            with the name of the first; numbers that stay without a class are closed up.

    Returns:
        The scene; ``rgb_bands`` are those of the cube as returned.

    Raises:
        DataError: Files are missing or damaged or do not fit together, or an argument is not
            possible.
        ImportError: The files need a package that is not installed.
    """
    check_settings({'data_root': data_root, 'classes': classes, 'label_map': label_map})
    if scene is not None and not (isinstance(scene, str) and scene in SCENES):
        raise DataError(
            f'there is no scene {scene!r}: allowed are {", ".join(SCENES)}, or your own files with '
            'image and labels'
        )
    if scene is None and image is None:
        raise DataError(f'no scene is given: set scene to one of {", ".join(SCENES)}, or image')
    given = {
        'image': image,
        'labels': labels,
        'train_labels': train_labels,
        'test_labels': test_labels,
    }
    if scene == 'synthetic' and any(given.values()):
        raise DataError('the generated scene takes no files: leave image and labels out')
    sources = {} if scene == 'synthetic' else find_sources(scene, Path(data_root or ''), given)
    stamps = [(kind, *_stamp(path), variable) for kind, (path, variable) in sources.items()]
    asked = [  # the repr of a long array leaves numbers out
        what.tolist() if isinstance(what, np.ndarray) else what
        for what in (classes, palette, bands, drop_bands, label_map)
    ]
    key = repr((scene, stamps, asked))
    found = _LOADED.get(key)
    if found is None:
        found = _load(scene, sources, classes, palette, bands, drop_bands, label_map)
        _LOADED[key] = found
    return found


def _stamp(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path.resolve(), status.st_mtime_ns, status.st_size


def _load(
    name: str | None,
    sources: dict[str, tuple[Path, str | None]],
    classes: Sequence[str] | None,
    palette: Sequence[Sequence[int]] | str | None,
    bands: Sequence[int] | None,
    drop_bands: Sequence[int] | None,
    label_map: Mapping[int, int] | None,
) -> Scene:
    info = SCENES.get(name)
    if sources:
        image = sources['image'][0]
        source = open_cube(*sources['image'])
        finer = info.finer_labels if info else 1
        maps = {
            kind: read_labels(*where, source.shape, image, finer)
            for kind, where in sources.items()
            if kind != 'image'
        }
        georeference = _georeference(image)
    else:
        source, labels = generate_scene()
        image, georeference = name, None
        maps = {'labels': labels.astype(np.int64)}
    title = name or image.stem
    if 'labels' not in maps and len(maps) == 2:
        _check_parts(maps['train_labels'], maps['test_labels'], title)
        maps['labels'] = union(maps['train_labels'], maps['test_labels'])

    if info is not None:
        _check_row(info, source.shape, maps)
    maps, names, colours = _name_classes(info, title, maps, label_map, classes, palette)
    keep = select_bands(source.shape[2], bands, drop_bands)
    cube, broken = _to_memory(source, keep, image)
    if broken.any():
        for array in maps.values():
            array[broken] = 0
        print_log(
            f'{image} has {int(broken.sum())} pixels with values that are not finite; they are set '
            'to 0 and count as unlabelled',
            'current',
            logging.WARNING,
        )
    total = source.shape[2]
    shown = info.rgb_bands if info else (total * 3 // 4, total // 2, total // 4)
    for array in (cube, *maps.values()):
        array.flags.writeable = False
    return Scene(
        name=title,
        cube=cube,
        labels=maps.get('labels'),
        train_labels=maps.get('train_labels'),
        test_labels=maps.get('test_labels'),
        classes=names,
        palette=colours,
        rgb_bands=tuple(int(abs(keep - band).argmin()) for band in shown),
        georeference=georeference,
    )


def _name_classes(
    info: SceneInfo | None,
    title: str,
    maps: dict[str, np.ndarray],
    label_map: Mapping[int, int] | None,
    classes: Sequence[str] | None,
    palette: Sequence[Sequence[int]] | str | None,
) -> tuple[dict[str, np.ndarray], tuple[str, ...], Palette]:
    """Return the maps with their final numbers, and the names and colours of these."""
    highest = _highest(maps)
    names = info.classes if info else tuple(f'class {number}' for number in range(1, highest + 1))
    colours = info.palette if info else None
    if label_map is not None:
        table, first = _renumbering(label_map, len(names))
        maps = {kind: table[array] for kind, array in maps.items()}
        names = tuple(names[old] for old in first)
        colours = info and tuple(colours[old] for old in first)
        if info is None:  # how many there are is known from the pixels alone
            names = names[: _highest(maps)]
    if classes is not None:
        if len(classes) < len(names) or (info and len(classes) > len(names)):
            raise DataError(
                f'{len(classes)} class names are given for {title}, which has classes 1 to '
                f'{len(names)}: give a name for each, or leave classes out with label_map'
            )
        names = tuple(classes)
    if isinstance(palette, str):
        if palette != 'spy':
            raise DataError(f"there is no palette {palette!r}: give a list of colours or 'spy'")
        colours = None
    elif palette is not None:
        colours = _checked_palette(palette, len(names))
    return maps, names, colours or default_palette(len(names))


def _highest(maps: dict[str, np.ndarray]) -> int:
    return max((int(array.max()) for array in maps.values()), default=0)


def select_bands(
    count: int, bands: Sequence[int] | None = None, drop_bands: Sequence[int] | None = None
) -> np.ndarray:
    """Turn what is to be kept or dropped into the numbers of the bands that stay.

    Args:
        count: Bands of the cube.
        bands: The bands to keep, from 0, in this order.
        drop_bands: The bands to leave out.

    Returns:
        ``(C,)``, int64.

    Raises:
        DataError: Both are given, a band is out of range or doubled, or none stays.
    """
    if bands is not None and drop_bands is not None:
        raise DataError('bands and drop_bands are both given: leave one of them out')
    argument = 'bands' if drop_bands is None else 'drop_bands'
    given = bands if drop_bands is None else drop_bands
    given = np.arange(count) if given is None else np.asarray(given)
    if given.ndim != 1 or (given.size and given.dtype.kind not in 'iu'):
        raise DataError(f'{argument} must be a list of whole numbers, not {given.tolist()}')
    wrong = given[(given < 0) | (given >= count)]
    if wrong.size:
        raise DataError(
            f'{argument} names band {wrong[0]}, the cube has bands 0 to {count - 1}: correct it'
        )
    if len(np.unique(given)) < len(given):
        raise DataError(f'{argument} names a band twice: leave one out')
    keep = given if drop_bands is None else np.setdiff1d(np.arange(count), given)
    if not keep.size:
        raise DataError(f'{argument} leaves no band of {count}: keep at least one')
    return keep.astype(np.int64)


def default_palette(classes: int) -> Palette:
    """Give each class a colour: Spectral Python's for up to 19 classes, beyond that hues."""
    if classes <= len(SPY_COLOURS):
        return SPY_COLOURS[:classes]
    colours = (
        colorsys.hsv_to_rgb(i / classes, (1, 0.6)[i % 2], (1, 0.75, 0.5)[i % 3])
        for i in range(classes)
    )
    return tuple(tuple(round(255 * part) for part in colour) for colour in colours)


def _georeference(image: Path) -> dict[str, Any] | None:
    try:
        return read_georeference(image)
    except ImportError as error:  # an ENVI file is read without rasterio
        print_log(f'{error}; maps of it will not say where they lie', 'current', logging.WARNING)
        return None


def _to_memory(
    source: Any, keep: np.ndarray, name: Path | str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Copy a cube to float32, some rows at a time; also tell which pixels are not finite."""
    height, width, total = source.shape
    try:
        cube = np.empty((height, width, len(keep)), np.float32)
    except MemoryError as error:
        raise DataError(
            f'{name} needs more memory than there is ({error}): keep fewer bands, or cut out a part'
        ) from error
    broken = np.zeros((height, width), bool)
    lost = np.ones(len(keep), bool)  # bands without a finite value
    step = max(1, 2**20 // (width * total))
    for first in range(0, height, step):
        rows = slice(first, first + step)
        with np.errstate(over='ignore'):  # beyond float32 it becomes infinite, and is seen below
            cube[rows] = source[rows][..., keep]
        finite = np.isfinite(cube[rows])
        broken[rows] = ~finite.all(-1)
        lost &= ~finite.any((0, 1))
    if lost.any():
        raise DataError(
            f'{name} has no finite number in {int(lost.sum())} of {len(keep)} bands, the first is '
            f'band {keep[lost][0]}: leave them out with drop_bands'
        )
    cube[broken] = 0
    return cube, broken


def _check_parts(train: np.ndarray, test: np.ndarray, title: str) -> None:
    differ = int(((train > 0) & (test > 0) & (train != test)).sum())
    if differ:
        raise DataError(
            f'train_labels and test_labels of {title} differ in {differ} pixels that both label: '
            'correct them, or give labels too'
        )


def _check_row(info: SceneInfo, shape: tuple[int, int, int], maps: dict[str, np.ndarray]) -> None:
    """Compare what came with what is known of the scene."""
    count, highest = len(info.classes), _highest(maps)
    if highest > count:
        raise DataError(
            f'the labels of {info.title} go up to {highest}, it has classes 1 to {count}: give the '
            'label map of this scene, or load your own with image, labels and classes'
        )
    messages = []
    if shape != info.shape:
        messages.append(
            f'the cube of {info.title} is {" x ".join(map(str, shape))}, the published one is '
            f'{" x ".join(map(str, info.shape))}'
        )
    if info.counts:
        counts = np.bincount(maps['labels'].ravel(), minlength=count + 1)[1:]
        differ = np.flatnonzero(counts != info.counts)
        if differ.size:
            first = differ[0]
            known = dict(info.other_maps).get(int(counts.sum()))
            messages.append(
                f'the label map of {info.title} has {counts.sum()} labelled pixels, the published '
                f'one {sum(info.counts)}; {differ.size} classes differ, the first is '
                f'{info.classes[first]} with {counts[first]} in place of {info.counts[first]}'
                + (f'; this is {known}' if known else '')
                + '; results cannot be compared with published ones'
            )
    for message in messages:
        print_log(message, 'current', logging.WARNING)


def _renumbering(label_map: Mapping[int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the new number of each label ``(count + 1,)`` and the first old class of each new one.

    Keys may be text, which is what a config that was written and read again has.
    """
    table = np.arange(count + 1)
    for old, new in label_map.items():
        whole = all(str(number).isdecimal() for number in (old, new))
        if not whole or not 1 <= int(old) <= count:
            raise DataError(
                f'label_map maps {old} to {new}: it maps classes 1 to {count} to new numbers, or '
                'to 0 to leave them out'
            )
        table[int(old)] = int(new)
    kept, first = np.unique(table[1:], return_index=True)
    first = first[kept > 0]
    kept = kept[kept > 0]
    if not kept.size:
        raise DataError('label_map leaves no class: keep at least one')
    return np.where(table > 0, np.searchsorted(kept, table) + 1, 0), first


def _checked_palette(palette: Sequence[Sequence[int]], count: int) -> Palette:
    if not isinstance(palette, Sequence | np.ndarray) or not all(
        isinstance(colour, Sequence | np.ndarray) for colour in palette
    ):
        raise DataError(f"the palette is {palette!r}: give a list of colours or 'spy'")
    colours = tuple(tuple(colour) for colour in palette)
    usable = all(
        len(colour) == 3 and all(part in range(256) for part in colour) for colour in colours
    )
    if len(colours) != count or not usable or len({*colours, (0, 0, 0)}) != count + 1:
        raise DataError(
            f'the palette must be {count} different colours of three numbers from 0 to 255, none '
            f'of them black, which is unlabelled, not {colours}'
        )
    return tuple(tuple(int(part) for part in colour) for colour in colours)
