"""The data set of a hyperspectral scene: one sample for each pixel, windows cut when asked for."""

import logging
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.logging import print_log

from ...errors import DataError
from ...registry import DATASETS
from ..settings import check_settings
from .bands import BandTransform, build_band_transform
from .labels import labels_hash
from .scenes import Scene, load_scene
from .split_report import report
from .split_settings import TEST, TRAIN, VAL
from .splits import Split, make_split
from .windows import PAD_MODES, check_window, inside_windows, pad_scene

PARTS = {'train': TRAIN, 'val': VAL, 'test': TEST}
FIT_ON = ('train', 'train_window', 'labelled', 'scene')


@DATASETS.register_module()
class HyperspectralDataset(BaseDataset):
    """Windows round the pixels of one scene, each with the class of its labelled pixel.

    The scene is loaded, split, transformed and padded once; data sets of one process that differ
    only in ``split`` (and in what comes after) share it, and nothing of it is copied but the
    window that is asked for. An item is what the pipeline makes of

    - ``img``: ``(w, w, C)`` float32, the labelled pixel at ``(w // 2, w // 2)``;
    - ``gt_label``: class id - 1; not there for unlabelled pixels, which only ``'all'`` holds;
    - ``coord``: ``(row, column)`` of the labelled pixel in the scene;
    - ``img_shape``: ``(w, w)``, and ``sample_idx``.

    ``metainfo`` says all that is needed to treat another scene alike, fitted band transform
    included; mmengine writes that of the training data into checkpoints as ``dataset_meta``. Its
    keys: ``classes``, ``palette``, ``scene``, ``rgb_bands``, ``bands`` (number of bands before the
    band transform), ``keep_bands`` and ``drop_bands`` (the arguments), ``window_size``,
    ``pad_mode``, ``pad_value``, ``band_transform`` (``state_dict``), ``fit_on``, ``split``
    (``split_cfg``) and ``labels_hash`` (what the label map is known by again).

    Args:
        scene: A key of ``SCENES``, such as ``'indian-pines'``; or else ``image`` and labels.
        data_root: Folder of the files.
        image: The cube: a path or ``(path, variable)``.
        labels: The label map, in the same way.
        train_labels: Mask of the training pixels, for ``split_cfg=dict(mode='fixed')``.
        test_labels: Mask of the test pixels, in the same way.
        classes: Names of the classes 1..K.
        palette: RGB triples of the classes 1..K.
        bands: Bands to keep, 0-based.
        drop_bands: Bands to leave out, 0-based.
        label_map: Labels of the file to those in use.
        split: ``'train'``, ``'val'`` or ``'test'`` of the split, ``'labelled'`` for all labelled
            pixels, ``'all'`` for all pixels.
        split_cfg: For ``make_split``.
        window_size: Side ``w`` of the windows in pixels.
        band_transform: For ``build_band_transform``; 36 whitened principal components by default.
        fit_on: What it is fitted to: ``'train'``, the training pixels; ``'train_window'``, all
            pixels inside their windows, which holds no test pixel where the split keeps a guard of
            ``w // 2``; ``'labelled'``; or ``'scene'``, all pixels. Pixels of the last and of
            ``'train_window'`` that are 0 in all bands (no data) are left out.
        pad_mode: What windows see beyond the border, see ``pad_scene``.
        pad_value: For ``pad_mode='constant'``; in transformed units, as padding comes last.
        pipeline: Transforms of the host or of this package.
        metainfo: Entries that go before those above.
        indices: The first (or, negative, last) samples only, or a list of samples.
        test_mode: mmengine's.
        lazy_init: Load when first used; ``metainfo`` is empty until then.
        max_refetch: mmengine's.

    Raises:
        DataError: Files, labels, window or part do not fit; names what came and how to repair it.
        ValueError: An argument is none of the allowed values.
    """

    _metainfo: dict

    def __init__(
        self,
        scene: str | None = None,
        data_root: str = 'data/hyperspectral',
        image: str | Sequence[str] | None = None,
        labels: str | Sequence[str] | None = None,
        train_labels: str | Sequence[str] | None = None,
        test_labels: str | Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        bands: Sequence[int] | None = None,
        drop_bands: Sequence[int] | None = None,
        label_map: Mapping[int, int] | None = None,
        split: str = 'train',
        split_cfg: Mapping | None = None,
        window_size: int = 9,
        band_transform: Mapping | Sequence[Mapping] | None = None,
        fit_on: str = 'train_window',
        pad_mode: str = 'constant',
        pad_value: float = 0.0,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        given = {'split_cfg': split_cfg, 'pipeline': pipeline, 'metainfo': metainfo}
        check_settings({**given, 'indices': indices})
        _check_choice('split', split, (*PARTS, 'labelled', 'all'))
        _check_choice('fit_on', fit_on, FIT_ON)
        _check_choice('pad_mode', pad_mode, PAD_MODES)
        if band_transform is None:
            band_transform = {'type': 'PCA', 'n_components': 36}
        self.split = split
        self.window_size = window_size
        self._source = {
            'scene': scene,
            'data_root': data_root,
            'image': image,
            'labels': labels,
            'train_labels': train_labels,
            'test_labels': test_labels,
            'classes': classes,
            'palette': palette,
            'bands': bands,
            'drop_bands': drop_bands,
            'label_map': label_map,
        }
        self._settings = _plain(
            {
                'split_cfg': dict(split_cfg or {}),
                'window_size': window_size,
                'band_transform': band_transform,
                'fit_on': fit_on,
                'pad_mode': pad_mode,
                'pad_value': pad_value,
            }
        )
        super().__init__(
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix={},
            indices=indices,
            serialize_data=False,  # an array of pixels; what serializing is for needs no help
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def full_init(self) -> None:
        """Load, split, transform and pad the scene, or take it over from a data set like this."""
        if self._fully_initialized:
            return
        scene = self._load().scene
        settings = dict(self._settings)
        own = {
            'classes': scene.classes,
            'palette': scene.palette,
            'scene': scene.name,
            'rgb_bands': scene.rgb_bands,
            'bands': scene.cube.shape[2],
            'keep_bands': self._source['bands'],
            'drop_bands': self._source['drop_bands'],
            'split': settings.pop('split_cfg'),
            'labels_hash': None if scene.labels is None else labels_hash(scene.labels),
        }
        state = {'band_transform': self._prepared.band_transform.state_dict()}
        self._metainfo = _plain({**own, **settings, **state, **self._metainfo})
        super().full_init()

    def _load(self) -> '_Prepared':
        if not hasattr(self, '_prepared'):
            self._prepared = _prepare(load_scene(**self._source), self._settings)
        return self._prepared

    def load_data_list(self) -> np.ndarray:
        """Return the flat pixel index of every sample, ``(n,)`` int64, in raster order.

        Raises:
            DataError: There are none, or the scene cannot be loaded.
        """
        height, width = self._load().scene.cube.shape[:2]
        if self.split == 'all':
            return np.arange(height * width)
        split = self._prepared.split
        if split is None:
            raise DataError(
                f'the scene {self._prepared.scene.name!r} has no labels, which split='
                f"{self.split!r} needs: give labels, or take split='all'"
            )
        chosen = split.labels > 0 if self.split == 'labelled' else split.parts == PARTS[self.split]
        if not chosen.any():
            raise DataError(
                f'no pixel is left for split={self.split!r} by split_cfg='
                f'{self._settings["split_cfg"]}: give it a share, such as {self.split}=0.05, or '
                'a smaller guard'
            )
        return np.flatnonzero(chosen)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return a sample without its window: ``coord``, ``gt_label`` and the rest."""
        row, col = divmod(int(self.data_list[idx]), self._prepared.scene.cube.shape[1])
        info = {
            'coord': (row, col),
            'img_shape': (self.window_size, self.window_size),
            'sample_idx': int(idx) if idx >= 0 else len(self) + int(idx),
        }
        split = self._prepared.split
        label = 0 if split is None else int(split.labels[row, col])
        if label:
            info['gt_label'] = label - 1
        return info

    def prepare_data(self, idx: int) -> Any:
        """Cut the window of a sample and run the pipeline on it."""
        info = self.get_data_info(idx)
        row, col = info['coord']
        size = self.window_size
        info['img'] = self._prepared.padded[row : row + size, col : col + size].copy()
        return self.pipeline(info)

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Return the class of every sample, ``(n,)`` int64; -1 for unlabelled pixels."""
        if self._prepared.split is None:
            return np.full(len(self), -1)
        return self._prepared.split.labels.reshape(-1)[self.data_list] - 1

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the class of a sample in a list, empty for an unlabelled pixel."""
        info = self.get_data_info(idx)
        return [info['gt_label']] if 'gt_label' in info else []

    @property
    @force_full_init
    def scene(self) -> Scene:
        """The scene as loaded."""
        return self._prepared.scene

    @property
    @force_full_init
    def parts(self) -> Split | None:
        """The split; None for a scene without labels."""
        return self._prepared.split

    @property
    @force_full_init
    def band_transform(self) -> BandTransform:
        """The fitted band transform."""
        return self._prepared.band_transform

    @property
    @force_full_init
    def padded(self) -> np.ndarray:
        """The transformed and padded scene, ``(H + w - 1, W + w - 1, C)`` float32, read-only."""
        return self._prepared.padded

    @force_full_init
    def split_report(self) -> str:
        """Describe split, guard, fit and overlap of windows in a few lines."""
        if self._prepared.split is None:
            return f'{self._prepared.scene.name}: no labels, all {len(self)} pixels'
        return report(
            self._prepared.split,
            self._metainfo['classes'],
            self.window_size,
            self._settings['fit_on'],
        )

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> np.ndarray:
        if isinstance(indices, int):
            return self.data_list[:indices] if indices >= 0 else self.data_list[indices:]
        count = len(self.data_list)
        wrong = [index for index in indices if not -count <= index < count]
        if wrong:
            raise DataError(f'indices names sample {wrong[0]}, there are {count}: correct it')
        return self.data_list[list(indices)]

    def __repr__(self) -> str:
        if not self._fully_initialized:
            return f'{type(self).__name__}(split={self.split!r}, not loaded yet)'
        counts = np.bincount(self.get_gt_labels() + 1, minlength=len(self._metainfo['classes']) + 1)
        return '\n    '.join(
            [
                f'{type(self).__name__}: {self._metainfo["scene"]}, {self.split}, '
                f'{len(self)} windows of {self.window_size} x {self.window_size} x '
                f'{self.band_transform.out_bands}',
                f'samples of each class: {counts[1:].tolist()}',
                f'{self.band_transform}, fitted on {self._settings["fit_on"]}',
                *map(str, self.pipeline.transforms),
            ]
        )


@dataclass(frozen=True, eq=False)
class _Prepared:
    """What data sets of one scene share; nothing in it is ever written to."""

    scene: Scene
    split: Split | None
    band_transform: BandTransform
    padded: np.ndarray

    def __deepcopy__(self, memo: dict) -> '_Prepared':
        return self  # mmengine copies a data set to take a part of it


# Kept for as long as some data set uses it.
_PREPARED: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _prepare(scene: Scene, settings: Mapping) -> _Prepared:
    """Split a scene, fit its band transform, apply it and pad, once for equal arguments."""
    # The entry keeps its scene alive, so that no other can come to have the same identity.
    key = (id(scene), repr(settings))
    prepared = _PREPARED.get(key)
    if prepared is None:
        size = settings['window_size']
        check_window(size, *scene.cube.shape[:2])
        transform = build_band_transform(settings['band_transform'])
        split = None
        if scene.labels is not None or scene.train_labels is not None:
            split = make_split(
                scene.labels, settings['split_cfg'], size, scene.train_labels, scene.test_labels
            )
            _tell_untrained(scene, split)
        chosen = _fit_mask(scene, split, size, settings['fit_on'])
        pixels = scene.cube.reshape(-1, scene.cube.shape[2]) if chosen.all() else scene.cube[chosen]
        labels = None if split is None else np.where(split.parts == TRAIN, split.labels, 0)[chosen]
        transform.fit(pixels, labels)
        padded = pad_scene(transform(scene.cube), size, settings['pad_mode'], settings['pad_value'])
        padded.flags.writeable = False
        prepared = _PREPARED[key] = _Prepared(scene, split, transform, padded)
    return prepared


def _tell_untrained(scene: Scene, split: Split) -> None:
    untrained = np.flatnonzero(split.counts(TRAIN, len(scene.classes)) == 0)
    if untrained.size:
        names = ', '.join(scene.classes[label] for label in untrained[:5])
        print_log(
            f'{len(untrained)} of {len(scene.classes)} classes of {scene.name} have no pixel to '
            f'train on, so no network can learn them ({names}): correct the labels, leave the '
            'classes out with label_map, or change split_cfg',
            'current',
            logging.WARNING,
        )


def _fit_mask(scene: Scene, split: Split | None, window_size: int, fit_on: str) -> np.ndarray:
    """Return the pixels that the band transform is fitted to, ``(H, W)`` bool."""
    if fit_on == 'scene':
        return np.asarray(scene.cube.any(2))
    if split is None:
        raise DataError(
            f'the scene {scene.name!r} has no labels, which fit_on={fit_on!r} needs: give labels, '
            "or fit_on='scene'"
        )
    if fit_on == 'labelled':
        return split.labels > 0
    train = split.parts == TRAIN
    return train if fit_on == 'train' else inside_windows(train, window_size) & scene.cube.any(2)


def _check_choice(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f'{name} is {value!r}: give one of {", ".join(map(repr, allowed))}')


def _plain(value: Any) -> Any:
    """Rebuild nested data of plain Python values such that equal data has equal pickles.

    Keys are sorted, as mmengine writes them into configs. Pickle writes an object that occurs twice
    only once: so every string becomes one object wherever it stands, and no container is shared.
    mmengine compares pickles when it resumes.
    """
    if isinstance(value, str | Path):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_plain(key): _plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, tuple):
        return tuple([_plain(entry) for entry in value])
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
