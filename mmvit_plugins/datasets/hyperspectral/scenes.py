"""Hyperspectral scenes: the known ones as rows of data, and loading them or one's own files.

Class names, sizes and counts are those of the public files. No palette is standard; the ones here
occur in public code, a class per colour, none black, which is what is unlabelled.
"""

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
from .reading import list_variables, open_cube, read_georeference, read_variable
from .synthetic import generate_scene

Palette = tuple[tuple[int, int, int], ...]
Source = str | Path | Sequence  # a path, or (path, variable)

MOST_CLASSES = 65535  # more is no label map

# As ENVI colours classes, but for the last, which is there nearly the first's red
ENVI_COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)),
    *((176, 48, 96), (46, 139, 87), (160, 32, 240), (255, 127, 80), (127, 255, 212)),
    *((218, 112, 214), (160, 82, 45), (127, 255, 0), (216, 191, 216), (128, 128, 0)),
)
# The first class colours of Spectral Python, for scenes that bring none
SPY_COLOURS = (
    *((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)),
    *((200, 100, 0), (0, 200, 100), (100, 0, 200), (200, 0, 100), (100, 200, 0), (0, 100, 200)),
    *((150, 75, 75), (75, 150, 75), (75, 75, 150), (255, 100, 100), (100, 255, 100)),
    *((100, 100, 255), (255, 150, 75)),
)


@dataclass(frozen=True)
class SceneInfo:
    """What is known of a public scene.

    Attributes:
        title: Its name in sentences.
        shape: ``(H, W, B)``.
        classes: Names of classes 1 to K.
        palette: Their colours.
        rgb_bands: The bands, from 0, that make a picture in false colour.
        counts: Labelled pixels of each class; empty: not checked.
        image: ``(file, variable)`` of the cube, all that are in use.
        labels: The same of the label map.
        train_labels: The same of a fixed training part, if there is one.
        test_labels: The same of the fixed test part.
        finer_labels: The label map may also have this many times the rows and columns; a pixel gets
            the label of more than half of its finer ones, else none.
        other_maps: Total of labelled pixels -> what map of the same scene has so many.
        page: What the public page that offers it is called.
    """

    title: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    palette: Palette
    rgb_bands: tuple[int, int, int]
    counts: tuple[int, ...] = ()
    image: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    train_labels: tuple[tuple[str, str], ...] = ()
    test_labels: tuple[tuple[str, str], ...] = ()
    finer_labels: int = 1
    other_maps: tuple[tuple[int, str], ...] = ()
    page: str = ''


EHU_PAGE = 'Hyperspectral Remote Sensing Scenes (GIC, University of the Basque Country)'

SCENES = {
    'indian-pines': SceneInfo(
        title='Indian Pines',
        shape=(145, 145, 200),
        classes=(
            *('Alfalfa', 'Corn-notill', 'Corn-mintill', 'Corn', 'Grass-pasture', 'Grass-trees'),
            *('Grass-pasture-mowed', 'Hay-windrowed', 'Oats', 'Soybean-notill', 'Soybean-mintill'),
            *('Soybean-clean', 'Wheat', 'Woods', 'Buildings-Grass-Trees-Drives'),
            'Stone-Steel-Towers',
        ),
        palette=ENVI_COLOURS,
        rgb_bands=(43, 21, 11),
        counts=(46, 1428, 830, 237, 483, 730, 28, 478, 20, 972, 2455, 593, 205, 1265, 386, 93),
        image=(('Indian_pines_corrected.mat', 'indian_pines_corrected'),),
        labels=(('Indian_pines_gt.mat', 'indian_pines_gt'),),
        other_maps=(
            (10366, 'the older map of this scene, which some published splits are made for'),
        ),
        page=EHU_PAGE,
    ),
    'pavia-u': SceneInfo(
        title='Pavia University',
        shape=(610, 340, 103),
        classes=(
            *('Asphalt', 'Meadows', 'Gravel', 'Trees', 'Painted metal sheets', 'Bare Soil'),
            *('Bitumen', 'Self-Blocking Bricks', 'Shadows'),
        ),
        palette=(
            *((216, 191, 216), (0, 255, 0), (0, 255, 255), (45, 138, 86), (255, 0, 255)),
            *((255, 165, 0), (159, 31, 239), (255, 0, 0), (255, 255, 0)),
        ),
        rgb_bands=(55, 41, 12),
        counts=(6631, 18649, 2099, 3064, 1345, 5029, 1330, 3682, 947),
        image=(('PaviaU.mat', 'paviaU'),),
        labels=(('PaviaU_gt.mat', 'paviaU_gt'),),
        page=EHU_PAGE,
    ),
    'salinas': SceneInfo(
        title='Salinas',
        shape=(512, 217, 204),
        classes=(  # spelled as in the data set
            *('Brocoli_green_weeds_1', 'Brocoli_green_weeds_2', 'Fallow', 'Fallow_rough_plow'),
            *('Fallow_smooth', 'Stubble', 'Celery', 'Grapes_untrained', 'Soil_vinyard_develop'),
            *('Corn_senesced_green_weeds', 'Lettuce_romaine_4wk', 'Lettuce_romaine_5wk'),
            *('Lettuce_romaine_6wk', 'Lettuce_romaine_7wk', 'Vinyard_untrained'),
            'Vinyard_vertical_trellis',
        ),
        palette=ENVI_COLOURS,
        rgb_bands=(43, 21, 11),
        counts=(
            *(2009, 3726, 1976, 1394, 2678, 3959, 3579, 11271, 6203, 3278, 1068, 1927, 916, 1070),
            *(7268, 1807),
        ),
        image=(('Salinas_corrected.mat', 'salinas_corrected'),),
        labels=(('Salinas_gt.mat', 'salinas_gt'),),
        page=EHU_PAGE,
    ),
    'houston2013': SceneInfo(
        title='Houston 2013',
        shape=(349, 1905, 144),
        classes=(
            *('Healthy grass', 'Stressed grass', 'Synthetic grass', 'Trees', 'Soil', 'Water'),
            *('Residential', 'Commercial', 'Road', 'Highway', 'Railway', 'Parking Lot 1'),
            *('Parking Lot 2', 'Tennis Court', 'Running Track'),
        ),
        # Railway is black in other code
        palette=(
            *((0, 205, 0), (127, 255, 0), (46, 139, 87), (0, 139, 0), (160, 82, 45)),
            *((0, 255, 255), (255, 255, 255), (216, 191, 216), (255, 0, 0), (139, 0, 0)),
            *((70, 70, 70), (255, 255, 0), (238, 154, 0), (85, 26, 139), (255, 127, 80)),
        ),
        rgb_bands=(59, 40, 23),
        counts=(
            *(1251, 1254, 697, 1244, 1242, 325, 1268, 1244, 1252, 1227, 1235, 1233, 469, 428, 660),
        ),
        image=(
            *(('Houston.mat', 'Houston'), ('houston.mat', 'houston'), ('Houston.mat', 'input')),
            ('GRSS2013.mat', 'GRSS2013'),
        ),
        labels=(
            *(('Houston_gt.mat', 'gt'), ('Houston_gt.mat', 'Houston_gt')),
            ('GRSS2013_gt.mat', 'GRSS2013_gt'),
        ),
        train_labels=(('houston_gt.mat', 'houston_gt_tr'), ('Houston.mat', 'TR')),
        test_labels=(('houston_gt.mat', 'houston_gt_te'), ('Houston.mat', 'TE')),
        page='2013 IEEE GRSS Data Fusion Contest (University of Houston)',
    ),
    'houston2018-crop': SceneInfo(
        title='Houston 2018 (crop)',
        shape=(128, 128, 48),
        # The file has no names. These are an inference, from the picture and the contest's order.
        # Trees (3 pixels) and Crosswalks (6) are too small to be divided: drop them with label_map.
        classes=(
            *('Healthy grass', 'Stressed grass', 'Artificial turf', 'Trees'),
            *('Non-residential buildings', 'Roads', 'Sidewalks', 'Crosswalks'),
            *('Major thoroughfares', 'Paved parking lots', 'Cars', 'Stadium seats'),
        ),
        palette=(
            *((0, 205, 0), (127, 255, 0), (46, 139, 87), (0, 139, 0), (216, 191, 216)),
            *((255, 0, 0), (255, 127, 80), (255, 255, 255), (139, 0, 0), (255, 255, 0)),
            *((0, 255, 255), (85, 26, 139)),
        ),
        rgb_bands=(23, 12, 4),
        counts=(135, 557, 138, 3, 1427, 449, 546, 6, 324, 171, 280, 1635),
        image=(('houston_dataset.mat', 'hyprImg'),),
        # The public file has a map of 512 x 512; the file looked for first is made by us from it.
        labels=(('houston2018_crop_gt128.mat', 'houston_gt'), ('houston_dataset.mat', 'clasLabs')),
        finer_labels=4,
        page='2018 IEEE GRSS Data Fusion Contest (University of Houston)',
    ),
    'synthetic': SceneInfo(
        title='generated scene',
        shape=(80, 64, 48),
        classes=tuple(f'crop {number}' for number in range(1, 7)),
        palette=ENVI_COLOURS[:6],
        rgb_bands=(36, 24, 12),
    ),
}


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
    if scene is not None and scene not in SCENES:
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
    sources = {} if scene == 'synthetic' else _find_sources(scene, Path(data_root), given)
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
            kind: _read_labels(*where, source.shape, image, finer)
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
        maps['labels'] = _union(maps['train_labels'], maps['test_labels'], title)

    if info is not None:
        _check_row(info, source.shape, maps)
    maps, names, colours = _name_classes(info, title, maps, label_map, classes, palette)
    keep = select_bands(source.shape[2], bands, drop_bands)
    cube, broken = _to_memory(source, keep)
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


def _to_memory(source: Any, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Copy a cube to float32, some rows at a time; also tell which pixels are not finite."""
    height, width, total = source.shape
    cube = np.empty((height, width, len(keep)), np.float32)
    broken = np.zeros((height, width), bool)
    step = max(1, 2**20 // (width * total))
    for first in range(0, height, step):
        rows = slice(first, first + step)
        with np.errstate(over='ignore'):  # beyond float32 it becomes infinite, and is seen below
            cube[rows] = source[rows][..., keep]
        broken[rows] = ~np.isfinite(cube[rows]).all(-1)
    cube[broken] = 0
    return cube, broken


def _read_labels(
    path: Path, variable: str | None, shape: tuple[int, int, int], image: Path, finer: int
) -> np.ndarray:
    array = read_variable(path, variable, 2, shape[:2])
    if finer > 1 and array.shape == (shape[0] * finer, shape[1] * finer):
        array = _majority(array, finer)
    if array.shape != shape[:2]:
        size = '{} x {}'.format(*array.shape)
        if array.shape == shape[1::-1]:
            hint = 'one of the two is transposed, save it again with rows first'
        elif array.shape == shape[1:]:
            hint = 'the cube seems to have its bands first, save it again as H x W x B'
        else:
            hint = 'give files of the same scene'
        raise DataError(
            f'the label map in {path} is {size}, the cube in {image} is {shape[0]} x {shape[1]} '
            f'with {shape[2]} bands: {hint}'
        )
    if array.dtype.kind == 'f':
        wrong = array[~np.isfinite(array) | (array != np.round(array))]
        if wrong.size:
            raise DataError(
                f'the label map in {path} holds {wrong[0]}, which is no whole number: labels are 0 '
                'for unlabelled and 1 to K'
            )
    for extreme in (array.min(), array.max()):
        if not 0 <= extreme <= MOST_CLASSES:
            raise DataError(
                f'the label map in {path} holds {extreme}: labels are 0 for unlabelled and 1 to K, '
                f'at most {MOST_CLASSES}; mark what is to be left out with 0'
            )
    return np.array(array, np.int64, order='C')


def _majority(array: np.ndarray, finer: int) -> np.ndarray:
    """Give each block of pixels the value of more than half of them, else 0."""
    height, width = array.shape[0] // finer, array.shape[1] // finer
    blocks = array.reshape(height, finer, width, finer).swapaxes(1, 2)
    blocks = np.sort(blocks.reshape(height, width, -1), -1)
    middle = blocks[..., finer**2 // 2]  # a value that fills more than half is there
    more = (blocks == middle[..., None]).sum(-1) * 2 > finer**2
    return np.where(more, middle, 0)


def _union(train: np.ndarray, test: np.ndarray, title: str) -> np.ndarray:
    differ = int(((train > 0) & (test > 0) & (train != test)).sum())
    if differ:
        raise DataError(
            f'train_labels and test_labels of {title} differ in {differ} pixels that both label: '
            'correct them, or give labels too'
        )
    return np.where(train > 0, train, test)


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
        if not 1 <= int(old) <= count or int(new) < 0:
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
    colours = tuple(tuple(colour) for colour in palette)
    usable = all(
        len(colour) == 3 and all(0 <= part <= 255 and part == int(part) for part in colour)
        for colour in colours
    )
    if len(colours) != count or not usable or len({*colours, (0, 0, 0)}) != count + 1:
        raise DataError(
            f'the palette must be {count} different colours of three numbers from 0 to 255, none '
            f'of them black, which is unlabelled, not {colours}'
        )
    return tuple(tuple(int(part) for part in colour) for colour in colours)


def _find_sources(
    name: str | None, root: Path, given: dict[str, Source | None]
) -> dict[str, tuple[Path, str | None]]:
    """Find the file and variable of each kind; what is given goes before what the scene has."""
    folders = [root, *_own_folders(name, root)]
    sources = {}
    for kind, source in given.items():
        if source is not None:
            sources[kind] = _locate(kind, source, folders)
    info = SCENES.get(name)
    if info is None:
        return sources
    for kind in given:
        if kind not in sources:
            found = _first_known(getattr(info, kind), folders)
            if found:
                sources[kind] = found
    needed = {'image': 'cube', 'labels': 'label map'}
    if {'train_labels', 'test_labels'} <= sources.keys():
        del needed['labels']
    for kind in (kind for kind in needed if kind not in sources):
        candidates = getattr(info, kind)
        paths = (_look_up(file, folders) for file, _ in candidates)
        # a file of the right name will do, whatever its variable is called
        path = next((path for path in paths if path), None)
        if path is None:
            files = ' or '.join(dict.fromkeys(file for file, _ in candidates))
            raise DataError(
                f'the {needed[kind]} of {info.title} is missing: {files} is looked for in '
                f'{" and ".join(map(str, folders))}; the public page is called "{info.page}", put '
                'the file there or set data_root'
            )
        sources[kind] = path, None
    return sources


def _first_known(
    candidates: Sequence[tuple[str, str]], folders: Sequence[Path]
) -> tuple[Path, str] | None:
    for file, variable in candidates:
        path = _look_up(file, folders)
        if path is not None and variable in list_variables(path):
            return path, variable
    return None


def _locate(kind: str, source: Source, folders: Sequence[Path]) -> tuple[Path, str | None]:
    """Turn what the user gives into a path that exists and a variable."""
    if isinstance(source, str | Path):
        source = source, None
    if len(source) != 2:
        raise DataError(f'{kind} must be a file or (file, variable), not {source}')
    path, variable = Path(source[0]), source[1]
    found = path if path.is_file() else _look_up(path, folders)
    if found is None:
        places = ' and '.join(map(str, folders))
        raise DataError(f'there is no file {path} for {kind}, nor is it in {places}: correct it')
    return found, variable


def _own_folders(name: str | None, root: Path) -> list[Path]:
    """Return the folders in root that are called as the scene is."""
    if name is None or not root.is_dir():
        return []
    plain = name.replace('-', '_')
    return [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and folder.name.lower().replace('-', '_') == plain
    ]


def _look_up(file: str | Path, folders: Sequence[Path]) -> Path | None:
    """Find a file in the first folder that has it, ignoring case where the exact name is absent."""
    for folder in folders:
        exact = folder / file
        if exact.is_file():
            return exact
        if exact.parent.is_dir():
            for path in sorted(exact.parent.iterdir()):
                if path.name.lower() == exact.name.lower() and path.is_file():
                    return path
    return None
