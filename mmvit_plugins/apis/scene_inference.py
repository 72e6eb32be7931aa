"""Maps of whole hyperspectral scenes by a network that classifies windows, in bounded memory.

A scene is read in strips of rows; each gets the band transform that the checkpoint carries, and its
windows are views from which batches are copied. Nothing but labels is held for the whole scene.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from mmengine.utils import ProgressBar
from torch import nn

from ..checkpoint import read_checkpoint
from ..config import explained, load_config
from ..datasets.hyperspectral.bands import restore_band_transform
from ..datasets.hyperspectral.labels import label_type, labels_hash
from ..datasets.hyperspectral.scenes import Scene
from ..datasets.hyperspectral.split_settings import TEST, TRAIN
from ..datasets.hyperspectral.splits import make_split
from ..datasets.hyperspectral.windows import margins, windows_of
from ..datasets.wrappers import leaf_configs
from ..environment import find_device
from ..errors import UserError
from ..evaluation import confusion_matrix, scores_of
from ..visualization.maps import error_map, panel_step
from . import scene_files as files
from .predictor import load_scoped_config
from .scene_files import Ground, Prediction
from .scene_source import Labels, Source, open_source

STRIP_BYTES = 2**25  # of spectra in float32, held at once
# What a data set's config says of the scene and its files
LOADING = (
    *('scene', 'data_root', 'image', 'labels', 'train_labels', 'test_labels', 'classes', 'palette'),
    *('bands', 'drop_bands', 'label_map'),
)
# What a data set writes into a checkpoint and a map cannot be made without
NEEDED = (
    *('band_transform', 'window_size', 'pad_mode', 'pad_value', 'classes', 'palette', 'rgb_bands'),
    *('scene', 'split', 'keep_bands', 'drop_bands'),
)


def map_scene(
    config: str,
    checkpoint: str,
    scene: str,
    out: str,
    variable: str | None = None,
    labels: str | None = None,
    labels_variable: str | None = None,
    mask: str = 'all',
    georeference: bool = False,
    save: str | None = None,
    scores: str | None = None,
    device: str | None = None,
    batch_size: int = 256,
    cfg_options: dict | None = None,
    overwrite: bool = False,
) -> None:
    """Map a scene as ``tools/map_scene.py`` was told; arguments as for :class:`HSIInferencer`.

    Raises:
        UserError: What cannot work, before anything is computed where possible.
    """
    cfg = load_scoped_config(config, cfg_options, ['mmpretrain'])
    inferencer = HSIInferencer(cfg, checkpoint, device, batch_size)
    source = (scene, variable) if variable else scene
    truth = (labels, labels_variable) if labels and labels_variable else labels
    inferencer(source, truth, out, mask, georeference, save, scores, overwrite)


class HSIInferencer:
    """Makes maps of whole scenes with a classifier of windows.

    Bands, band transform, window and padding are always those that the checkpoint was trained with.
    A pixel without data, one that is not finite or 0 in all bands, is not computed unless it is
    finite and labelled; the windows of its neighbours see zeros there, as in training.

    Args:
        model: A config, its file, or a classifier of mmpretrain that has been built.
        checkpoint: The weights; not needed for a model that has them.
        device: As ``cuda:0``; the GPU if there is one.
        batch_size: Windows at once; the map does not depend on it.
        meta: What ``HyperspectralDataset`` writes into checkpoints as ``meta['dataset_meta']``; by
            default that of the checkpoint, or what mmpretrain's ``get_model`` left in the model.

    Raises:
        UserError: The checkpoint does not fit the model or does not say how it was trained, or the
            config would prepare windows in another way.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module,
        checkpoint: str | None = None,
        device: str | None = None,
        batch_size: int = 256,
        meta: Mapping | None = None,
    ) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f'batch_size={batch_size!r}: give a whole number of windows from 1 on')
        self.batch_size = batch_size
        target = find_device(device)
        state = read_checkpoint(checkpoint) if checkpoint else {}
        cfg = None
        if not isinstance(model, nn.Module):
            cfg = model if isinstance(model, Config) else load_config(str(model))
            model = _build(cfg, checkpoint)
        if meta is None:
            meta = (state.get('meta') or {}).get('dataset_meta') or getattr(
                model, '_dataset_meta', None
            )
        missing = [key for key in NEEDED if key not in (meta or {})]
        if missing:
            raise UserError(
                f'{checkpoint or "the model"} carries no {missing[0]} of its training, which a map '
                'needs: give a checkpoint that was trained on a HyperspectralDataset'
            )
        if checkpoint:
            _load(model, checkpoint)
        self.meta = dict(meta)
        self.source = _loading_arguments(cfg, self.meta) if cfg else {}
        self.files = [cfg and cfg.filename, checkpoint]
        self.files += files.files_of_scene(self.source)
        self.transform = restore_band_transform(self.meta['band_transform'])
        self.model = model.to(target).eval()
        backbone = getattr(model, 'backbone', None)
        if cfg is not None and hasattr(backbone, 'switch_to_deploy'):  # a caller's model stays
            backbone.switch_to_deploy()

    def __call__(
        self,
        scene: str | Path | Sequence | np.ndarray | Scene,
        labels: Labels | None = None,
        out: str | Path | None = None,
        mask: str | np.ndarray = 'all',
        georeference: bool = False,
        save: str | Path | None = None,
        scores: str | Path | None = None,
        overwrite: bool = True,
    ) -> dict:
        """Map a scene.

        Args:
            scene: A key of ``SCENES``, a file that ``open_cube`` takes, ``(file, variable)``, an
                array ``(H, W, B)`` with all bands of the file, or a loaded scene.
            labels: The ground truth where the scene has none: a file, ``(file, variable)`` or an
                array ``(H, W)``; 0 for unlabelled, classes from 1.
            out: The panel to write, ``NAME.png``; beside it ``NAME_pred.png``, ``NAME_truth.png``,
                ``NAME_error.png`` and ``NAME.npy``.
            mask: ``'all'``, ``'labelled'``, or what to compute as ``(H, W)`` bool.
            georeference: Also write ``NAME.tif``, which lies where the scene lies.
            save: A further file for the labels: ``.npy``, ``.mat`` (variable ``labels``) or
                ``.tif``, with the scene's georeference if it has one.
            scores: A ``.npy`` file for the softmax scores, float16 ``(H, W, K)``, memory-mapped.
            overwrite: Whether files that are there may be replaced; an input never is.

        Returns:
            ``labels`` ``(H, W)``, uint8 or with more than 255 classes uint16, 0 where not computed;
            ``scores`` (None if not asked for); ``metrics``, None without ground truth, else those
            of ``scores_of`` with ``confusion``, ``pixels`` (how many) and ``part`` (which ones).

        Raises:
            UserError: The scene is of another kind than the network was trained on, smaller than a
                window, or lacks the labels or georeference asked for, or a file cannot be written.
            DataError: The scene or labels cannot be read.
        """
        inputs = [*self.files, *files.files_among([scene, labels])]
        files.check_files(out, georeference, save, scores, inputs, overwrite)
        source = open_source(scene, labels, self.meta, self.source)
        tiff = georeference or Path(save or '').suffix.lower() in files.TIFF
        if tiff:
            files.import_rasterio()
        if georeference and source.georeference is None:
            raise UserError(
                f'{source.name} has no georeference, so none can be written: leave --georeference '
                'out, or give the scene as a GeoTIFF or ENVI file that has one'
            )
        wanted = self._wanted(source, mask)
        with files.open_scores(scores, (*wanted.shape, len(self._classes))) as array:
            result = self._predict(source, wanted, array)
        if result.missing.any():
            print_log(
                f'{int(result.missing.sum())} pixels of {source.name} have no data (values that '
                'are not finite, or 0 in all bands): they are 0 in the map, which is not computed',
                'current',
            )
        ground = self._compare(source, result)
        if out is not None:
            files.write_maps(Path(out), result, ground, self._classes, self.meta['palette'])
        paths = [save] if save else []
        if georeference:
            paths.append(Path(out).with_suffix('.tif'))
        for path in paths:
            files.save_labels(
                Path(path), result.labels, self.meta['palette'], tiff and source.georeference
            )
        metrics = ground and ground.metrics
        if metrics:
            print_log(files.describe(metrics), 'current')
        return {'labels': result.labels, 'scores': result.scores, 'metrics': metrics}

    @property
    def _classes(self) -> tuple[str, ...]:
        return tuple(self.meta['classes'])

    def _wanted(self, source: Source, mask: str | np.ndarray) -> np.ndarray:
        """Return what is to be computed, ``(H, W)`` bool."""
        shape = source.cube.shape[:2]
        if isinstance(mask, np.ndarray):
            if mask.shape != shape:
                raise UserError(
                    f'mask has the shape {mask.shape}, {source.name} is {shape[0]} x {shape[1]}: '
                    'give a mask of that size'
                )
            return mask.astype(bool)
        if mask not in ('all', 'labelled'):
            raise UserError(f"mask={mask!r}: give 'all', 'labelled' or an array")
        if mask == 'labelled' and not source.labelled.any():
            raise UserError(
                f'mask is labelled, but {source.name} comes without labels of the classes of the '
                'network: give them with --labels, or map all'
            )
        return source.labelled if mask == 'labelled' else np.ones(shape, bool)

    @torch.inference_mode()
    def _predict(self, source: Source, wanted: np.ndarray, scores: np.ndarray | None) -> Prediction:
        """Classify the wanted pixels, strip by strip."""
        height, width = wanted.shape
        size, step = self.meta['window_size'], panel_step(wanted.shape)
        count = max(1, STRIP_BYTES // (4 * width * source.cube.shape[2]) - size)
        labels = np.zeros((height, width), label_type(len(self._classes)))
        missing = np.zeros((height, width), bool)
        picture = np.zeros((-(-height // step), -(-width // step), 3), np.float32)
        total, ready = int(wanted.sum()), 0
        bar = ProgressBar(total, file=sys.stdout)
        for first in range(0, height, count):
            rows = slice(first, min(first + count, height))
            strip, empty, bands = self._read_strip(source, rows)
            missing[rows] = empty
            sampled = slice(-first % step, None, step)
            picture[-(-first // step) :][: len(bands[sampled])] = bands[sampled, ::step]
            windows = windows_of(strip, size)  # (rows, W, C, w, w), a view
            places = np.nonzero(wanted[rows] & ~empty)
            for start in range(0, len(places[0]), self.batch_size):
                row, column = (axis[start : start + self.batch_size] for axis in places)
                logits = self._forward(windows[row, column])
                labels[first + row, column] = logits.argmax(1).cpu().numpy() + 1
                if scores is not None:
                    scores[first + row, column] = logits.softmax(1).cpu().numpy()
                ready += len(row)
                if ready * 100 >= total:  # a hundred times, as each is a line of a log file
                    bar.update(ready)
                    ready = 0
            ready += int((wanted[rows] & empty).sum())
        if ready:
            bar.update(ready)
        bar.file.write('\n')
        return Prediction(labels, missing, picture, scores)

    def _read_strip(self, source: Source, rows: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the rows and what their windows see above and below.

        Returns:
            Transformed and padded ``(rows + w - 1, W + w - 1, C)``; which pixels of the rows
            have no data ``(rows, W)``; their bands for a picture ``(rows, W, 3)``.
        """
        height, width = source.cube.shape[:2]
        size, value = self.meta['window_size'], self.meta['pad_value']
        above, beside = (_padded_places(n, size, self.meta['pad_mode']) for n in (height, width))
        above = above[rows.start : rows.stop + size - 1]
        first, stop = above[above >= 0].min(), above.max() + 1
        pixels = np.asarray(source.cube[first:stop])
        with np.errstate(over='ignore'):  # beyond float32 it becomes infinite, and is seen below
            pixels = (pixels if source.keep is None else pixels[..., source.keep]).astype('f4')
        broken = ~np.isfinite(pixels).all(-1)
        pixels[broken] = 0
        own = slice(rows.start - first, rows.stop - first)
        empty = broken[own] | ~(pixels[own].any(-1) | source.labelled[rows])
        bands = pixels[own][..., self.meta['rgb_bands']]
        bands[empty] = np.nan
        channels = self.transform(pixels)
        strip = channels[np.maximum(above - first, 0)][:, np.maximum(beside, 0)]
        strip[above < 0] = value
        strip[:, beside < 0] = value
        return strip, empty, bands

    def _forward(self, windows: np.ndarray) -> torch.Tensor:
        """Return the logits ``(n, K)`` of windows ``(n, C, w, w)``.

        The model's ``predict`` without the data sample that it makes for every window.
        """
        inputs = {'inputs': torch.from_numpy(np.ascontiguousarray(windows))}
        inputs = self.model.data_preprocessor(inputs, False)['inputs']
        logits = self.model(inputs, mode='tensor')
        if logits.shape[1:] != (len(self._classes),):
            raise UserError(
                f'the model gives {tuple(logits.shape[1:])} numbers for a window, the checkpoint '
                f'knows {len(self._classes)} classes: give the config that it was trained with'
            )
        return logits

    def _compare(self, source: Source, result: Prediction) -> Ground | None:
        """Score the prediction on the test pixels of the checkpoint's split."""
        if source.labels is None or not source.labelled.any():
            return None
        maps = [
            None if array is None else np.where(result.missing, 0, array)
            for array in (source.labels, source.train_labels, source.test_labels)
        ]
        if self._is_training_scene(source):
            split = make_split(maps[0], self.meta['split'], self.meta['window_size'], *maps[1:])
            truth, training, tested = split.labels, split.parts == TRAIN, split.parts == TEST
            part = f"test pixels of the checkpoint's split ({split.mode}, seed {split.seed})"
        else:
            truth = maps[0]
            training, tested = np.zeros(truth.shape, bool), truth > 0
            part = 'labelled pixels; neither by name nor labels the training scene, none left out'
        errors = error_map(truth, result.labels, training)
        tested = tested & (result.labels > 0)
        if not tested.any():
            return Ground(truth, errors, None)
        confusion = confusion_matrix(
            truth[tested] - 1, result.labels[tested].astype(np.int64) - 1, len(self._classes)
        )
        about = {'confusion': confusion, 'pixels': int(tested.sum()), 'part': part}
        return Ground(truth, errors, {**scores_of(confusion), **about})

    def _is_training_scene(self, source: Source) -> bool:
        """Tell by the name or, whatever its file is called, by the labels."""
        if source.name == self.meta['scene']:
            return True
        known = self.meta.get('labels_hash')
        return source.labels is not None and labels_hash(source.labels) == known


def _build(cfg: Config, checkpoint: str | None) -> nn.Module:
    """Build a config's classifier; its weights are still to be loaded."""
    from mmpretrain import get_model

    if checkpoint is None:
        raise UserError(
            'a config alone has no trained weights: give a checkpoint, or a model that is built'
        )
    with explained(cfg):
        return get_model(cfg)


def _load(model: nn.Module, checkpoint: str) -> None:
    """Load weights, all of them: a layer left as it was drawn would make a map of noise."""
    try:
        load_checkpoint(model, checkpoint, map_location='cpu', strict=True)
    except RuntimeError as error:
        reason = ' '.join(str(error).split())[:300]
        raise UserError(
            f'{checkpoint} does not fit the model ({reason}): give the config that it was trained '
            'with'
        ) from error


def _loading_arguments(cfg: Config, meta: Mapping) -> dict:
    """Take from a config how its test scene is loaded.

    Raises:
        UserError: The bands are others than in training, or the pipeline changes windows.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        return {}
    dataset = next(leaf_configs(loader))
    for step in dataset.get('pipeline') or []:
        if str(step['type']).rpartition('.')[2] != 'PackInputs':
            raise UserError(
                f'the test pipeline has {step["type"]}, but a map is made from windows as they are '
                'cut: leave only PackInputs in it'
            )
    for key, trained in (('bands', meta['keep_bands']), ('drop_bands', meta['drop_bands'])):
        if list(dataset.get(key) or []) != list(trained or []):
            raise UserError(
                f'{key} is {dataset.get(key)} in the config, and {trained} in the training of the '
                'checkpoint: give the config that it was trained with'
            )
    return {key: dataset[key] for key in LOADING if dataset.get(key) is not None}


def _padded_places(count: int, size: int, mode: str) -> np.ndarray:
    """Return which row (or column) stands where after padding, -1 for the constant value."""
    constant = {'constant_values': -1} if mode == 'constant' else {}
    return np.pad(np.arange(count), margins(size), mode=mode, **constant)
