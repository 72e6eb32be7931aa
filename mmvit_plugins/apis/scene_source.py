"""The scene that a map is made of, opened and checked against what the network was trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ..datasets.hyperspectral.catalogue import SCENES
from ..datasets.hyperspectral.labels import check_labels, check_size, read_labels
from ..datasets.hyperspectral.reading import open_cube, read_georeference
from ..datasets.hyperspectral.scenes import Scene, load_scene, select_bands
from ..errors import UserError

Labels = str | Path | Sequence | np.ndarray


@dataclass(frozen=True, eq=False)
class Source:
    """A scene that is opened, and what is known of it."""

    name: str
    cube: Any  # (H, W, B), sliced by rows
    keep: np.ndarray | None  # the bands to take, None for all
    labels: np.ndarray | None
    train_labels: np.ndarray | None
    test_labels: np.ndarray | None
    file: Path | None
    place: dict | None

    @cached_property
    def georeference(self) -> dict | None:
        """Where the scene lies, None if it does not say; a file is asked only if needed."""
        return read_georeference(self.file) if self.file else self.place

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which pixels have a label in any map, ``(H, W)``."""
        found = np.zeros(self.cube.shape[:2], bool)
        for array in (self.labels, self.train_labels, self.test_labels):
            if array is not None:
                found |= array > 0
        return found


def open_source(
    scene: str | Path | Sequence | np.ndarray | Scene,
    labels: Labels | None,
    meta: Mapping,
    training: Mapping,
) -> Source:
    """Open a scene and its labels, and check that a network can do with them.

    Args:
        scene: As :class:`~mmvit_plugins.apis.scene_inference.HSIInferencer` takes it.
        labels: Likewise.
        meta: The ``dataset_meta`` of the network's checkpoint.
        training: How ``load_scene`` loads the scene that the network's config names; may be empty.

    Raises:
        UserError: The network cannot be shown the scene, or does not know its labels.
        DataError: The scene or labels cannot be read.
    """
    known = isinstance(scene, Scene | np.ndarray)
    path, variable = (None, None) if known else _split(scene, 'the scene')
    loading = _find_loading(path, meta, training) if isinstance(path, str | Path) else None
    if loading:
        if labels is not None and not isinstance(labels, np.ndarray):
            loading, labels = {**loading, 'labels': labels}, None
        scene = load_scene(**loading)
    file = place = None
    maps: list[Any] = [None] * 3
    if isinstance(scene, Scene):
        name, cube, place = scene.name, scene.cube, scene.georeference
        if scene.name == meta['scene'] or scene.classes == tuple(meta['classes']):
            maps = [scene.labels, scene.train_labels, scene.test_labels]
        else:
            text = f'{name} has other classes than the network: its labels are not used'
            print_log(text, 'current')
    elif isinstance(scene, np.ndarray):
        name, cube = 'the array', scene
        if cube.dtype.kind not in 'biuf':
            raise UserError(f'the array holds numbers of type {cube.dtype}: give real ones')
    else:
        file = Path(path)
        name, cube = file.stem, open_cube(file, variable)
    if len(cube.shape) != 3:
        raise UserError(f'{name} has the shape {tuple(cube.shape)}: give a cube (H, W, B)')
    keep = None
    if not isinstance(scene, Scene):
        keep = select_bands(cube.shape[2], meta['keep_bands'], meta['drop_bands'])
    if labels is not None:
        maps[0] = _given_labels(labels, cube.shape, name)
    shown, train, test = maps
    source = Source(name, cube, keep, shown, train, test, file, place)
    _check(source, meta)
    return source


def _check(source: Source, meta: Mapping) -> None:
    """Refuse a scene that the network cannot be shown, or labels that it does not know."""
    height, width, count = source.cube.shape
    count = count if source.keep is None else len(source.keep)
    trained, classes = meta['band_transform']['in_bands'], len(meta['classes'])
    if count != trained:
        raise UserError(
            f'{source.name} has {count} bands after bands and drop_bands of the training, and '
            f'the network was trained on {trained}: give a scene with the same bands'
        )
    size = meta['window_size']
    if min(height, width) < size:
        raise UserError(
            f'{source.name} has {height} x {width} pixels, the network looks at windows of '
            f'{size} x {size}: give a scene of at least that size'
        )
    maps = (source.labels, source.train_labels, source.test_labels)
    highest = max((int(array.max()) for array in maps if array is not None), default=0)
    if highest > classes:
        raise UserError(
            f'the labels of {source.name} go up to {highest}, the network knows the classes 1 '
            f'to {classes}: give the labels that it was trained for'
        )


def _find_loading(path: str | Path, meta: Mapping, training: Mapping) -> Mapping | None:
    """Return how ``load_scene`` is to load a known scene or that of the training, else None."""
    image = training.get('image')
    image = image if image is None or isinstance(image, str | Path) else image[0]
    if path == training.get('scene') or (image and _same_file(path, image)):
        return training  # with the masks and the label map of the training
    if path not in SCENES:
        return None
    bands = {'bands': meta['keep_bands'], 'drop_bands': meta['drop_bands']}
    roots = {key: value for key, value in training.items() if key == 'data_root'}
    return {'scene': path, **roots, **bands}


def _split(source: Any, name: str) -> tuple[str | Path, str | None]:
    """Return a file and the name of a variable in it, None for none."""
    pair = source if isinstance(source, tuple | list) else (source, None)
    if len(pair) != 2 or not isinstance(pair[0], str | Path):
        raise UserError(f'{name} must be an array, a file or (file, variable), not {source!r}')
    return pair[0], pair[1]


def _given_labels(labels: Labels, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Read labels ``(H, W)`` from a file where they are no array, and check them."""
    if isinstance(labels, np.ndarray):
        check_size(labels, 'the array of labels', shape, name)
        return check_labels(labels, 'the array of labels')
    path, variable = _split(labels, 'the labels')
    return read_labels(Path(path), variable, shape, name)


def _same_file(one: str | Path, other: str | Path) -> bool:
    return Path(one).resolve() == Path(other).resolve()
