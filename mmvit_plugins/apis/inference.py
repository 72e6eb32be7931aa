"""Predict pictures in a file or folder with any config, and write what can be looked at."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from mmengine.utils import ProgressBar

from ..datasets.label_maps import CheckLabels
from ..errors import UserError
from ..registry import HOSTS
from ..visualization import draw_classification, draw_segmentation, paint, write_over
from .batches import for_each_batch, open_pool
from .detection import Detection
from .label_files import label_paths, probability_path, write_labels, write_probabilities
from .outputs import check_outputs
from .pictures import drawn, find_pictures, save
from .predictor import Predictor, check_opacity, find_test_dataset, load_scoped_config, show_loaded
from .task import DEFAULTS, Loaded, Options, Task
from .tiled import Segmented, Segmenter
from .tiles import Axis, check_tiles
from .videos import Video, check_video, infer_video, is_video
from .windows import Raster, Whole, find_missing, look_at, open_raster_file

# What fits into few memories as a whole, so that tiles are the default: pixels, and their scores
LARGE, SCORES = 64_000_000, 4_000_000_000
TILE = 512  # pixels of a tile where nobody says


def infer(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    device: str | None = None,
    opacity: float = 0.6,
    truth: str | None = None,
    score_threshold: float = 0.3,
    cfg_options: dict | None = None,
    overwrite: bool = False,
    tile: int | None = None,
    overlap: float = 0.25,
    batch_size: int = 1,
    workers: int = 2,
    save: Sequence[str] = (),
    every: int = 1,
    show: str = 'overlay',
    frames: int | None = None,
) -> None:
    """Write a picture for each input picture, and what is predicted as files for programs.

    Segmentation writes ``OUT/<name>.png``, input and prediction above a legend, and
    ``OUT/labels/<name>.png``, the class of each pixel counted from 0 (255: no data); of a
    georeferenced TIFF ``OUT/labels/<name>.tif`` with its place. Classification writes
    ``OUT/<name>.png`` and ``OUT/predictions.json``, the five likeliest classes. Detection writes
    ``OUT/<name>.png``, boxes (and masks) over the picture, and ``OUT/predictions.json``: for each
    picture a list of ``class``, ``label``, ``score``, ``bbox`` (``x0, y0, x1, y1`` in its pixels)
    and, of models that predict them, ``mask`` (COCO's compressed RLE), best first. Folders are
    searched to any depth. A video or camera becomes ``OUT/<name>.mp4``.

    Args:
        config: The config file; its ``default_scope`` decides on the task.
        checkpoint: The weights.
        source: A picture, a folder, a video, or the number of a camera.
        out: The folder to write into.
        device: As ``cuda:0``; the GPU if there is one.
        opacity: Of the painted classes, 0 to 1.
        truth: Adds the truth to the pictures: a folder of label maps in the layout of ``source``,
            or a COCO file of boxes.
        score_threshold: What a box must reach to be drawn and listed.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether pictures of an earlier run may be replaced.
        tile: Segmentation: side of the tiles in which larger pictures are predicted, in pixels; 0
            for none. By default pictures above 64 million pixels, or 4 billion pixels times
            classes, have tiles of 512.
        overlap: What neighbouring tiles share at least, as a part of their side.
        batch_size: How many pictures of one size, or tiles, are predicted at once.
        workers: Threads that read pictures beside computing; half as many write. 0 for none.
        save: What else is written, of segmentation: ``'probabilities'``, of each class and pixel,
            float16, into ``OUT/probabilities/<name>.npz`` or ``.tif``.
        every: Videos: every how many frames are predicted; those between show the last prediction.
        show: Videos: ``'overlay'``, or ``'labels'`` for the colours of the classes alone.
        frames: Videos: after how many frames to end; a camera runs until it is interrupted.

    Raises:
        UserError: Nothing to predict, a wrong argument, or, after all others are written, pictures
            that could not be read.
    """
    check_opacity(opacity)
    check_tiles(tile, overlap)
    if not 0 <= score_threshold <= 1:
        raise UserError(f'score_threshold={score_threshold}: give a number from 0 to 1')
    if batch_size < 1 or workers < 0:
        raise UserError(
            f'batch_size={batch_size}, workers={workers}: give at least 1 picture, and no fewer '
            'than 0 threads'
        )
    if unknown := set(save) - {'probabilities'}:
        raise UserError(f'save={sorted(unknown)}: only probabilities can be saved beside the rest')
    options = Options(
        opacity, score_threshold, tile, overlap, batch_size, workers, 'probabilities' in save
    )
    video = Video(source, every, show, frames) if is_video(source) else None
    pictures = {} if video else find_pictures(source)
    cfg = load_scoped_config(config, cfg_options, HOSTS)
    kind = TASKS[cfg.default_scope]
    if video:
        check_video(video, kind is Segmentation, options, truth)
        outputs = video.outputs(Path(out), kind is not Segmentation)
    elif (every, show, frames) != (1, 'overlay', None):
        raise UserError(f'{source} is no video: leave --every, --show and --frames out')
    else:
        outputs = kind.outputs(pictures, Path(out), options)
    check_outputs(outputs, [source, truth, config, checkpoint], overwrite)
    predictor = Predictor(cfg, checkpoint, device)
    task = kind(predictor, Path(out), options)
    if truth:
        task.find_truth(pictures, truth)
    if video:
        infer_video(video, task, Path(out))
    else:
        for_each_batch(pictures, out, task, batch_size, workers)


class Large(NamedTuple):
    """A picture that is predicted by tiles, which are read meanwhile."""

    name: str
    source: Whole | Raster
    picture: np.ndarray  # every n-th pixel, RGB, to be drawn
    step: int  # n


class Segmentation(Task):
    """Label maps: ``OUT/<name>.png`` and ``OUT/labels/<name>.png`` or ``.tif``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        config = {**find_test_dataset(self.predictor.cfg), 'pipeline': [], 'lazy_init': True}
        with DATASETS.switch_scope_and_registry('mmseg') as registry:
            self.dataset = registry.build(config)  # for suffixes; no file is looked for
        self.classes, self.palette = self.predictor.classes, self.predictor.palette
        if not self.classes or not self.palette:
            metainfo = self.dataset.metainfo
            self.classes, self.palette = metainfo['classes'], metainfo['palette']
        count = getattr(self.predictor.model, 'num_classes', len(self.classes))
        self.names = self.classes if len(self.classes) == count else [*map(str, range(count))]
        self.segmenter = Segmenter(self.predictor, count, self.out, self.options.probabilities)

    @staticmethod
    def outputs(pictures: dict[str, Path], out: Path, options: Options = DEFAULTS) -> list[Path]:
        """List what will be written."""
        files = drawn(pictures, out)
        for name, path in pictures.items():
            placed = look_at(path).place is not None
            files += label_paths(name, out, placed)
            if options.probabilities:
                files.append(probability_path(name, out, placed))
        return files

    def find_truth(self, pictures: dict[str, Path], place: str) -> None:
        """Find the annotation of each picture by the suffixes of the config's data set."""
        for name, path in pictures.items():
            cut = path.name.removesuffix(self.dataset.img_suffix)
            stem = cut if cut != path.name else path.stem
            file = Path(place, name).parent / (stem + self.dataset.seg_map_suffix)
            if not file.is_file():
                raise UserError(f'{path} has no annotation {file}: correct --truth')
            self.truth[name] = file

    def load(self, path: Path, name: str) -> Loaded | Large:
        """Read a picture, or open one that is predicted by tiles."""
        about = look_at(path)
        if self._needs_tiles(about.shape):
            source = (Raster if about.by_windows else Whole)(self.predictor, path)
            return Large(name, source, *source.overview())
        loaded = self.predictor.load(path)
        missing = loaded.get('nodata')
        if missing is None and about.by_windows:
            with open_raster_file(path) as file:
                missing = find_missing(file)
        picture = show_loaded(loaded['img'])
        return Loaded(name, picture, self.predictor.prepare(loaded), missing, about.place)

    def _needs_tiles(self, size: tuple[int, int] | None) -> bool:
        """Tell whether a picture (height, width) is larger than a tile, and goes by tiles."""
        tile = self.options.tile
        if size is None or tile == 0 or max(size) <= (tile or TILE):
            return False
        pixels = size[0] * size[1]
        return bool(tile) or pixels > LARGE or pixels * self.segmenter.count > SCORES

    def key(self, loaded: Loaded | Large) -> Hashable:
        """Return what pictures of one batch share."""
        return None if isinstance(loaded, Large) else super().key(loaded)

    def predict(self, batch: Sequence[Any]) -> list:
        """Predict pictures of one key, or one by tiles."""
        if not isinstance(batch[0], Large):
            return super().predict(batch)
        name, source, *_ = batch[0]
        options, tile = self.options, self.options.tile or TILE
        count = [len(Axis(side, tile, options.overlap).starts) for side in source.shape]
        print_log(
            f'{name} is predicted by {count[0]} x {count[1]} tiles, in its own size', 'current'
        )
        bar = ProgressBar(count[0] * count[1])
        try:
            with open_pool(options.workers) as pool:
                return [
                    self.segmenter.predict(
                        source, tile, options.overlap, pool, options.batch_size, bar.update
                    )
                ]
        finally:
            source.close()

    def write(self, loaded: Loaded | Large, found: Any) -> None:
        """Write the pictures."""
        if isinstance(loaded, Large):
            step, place = loaded.step, loaded.source.place
        else:
            step, place = 1, loaded.place
            found = self.segmenter.collect(found, loaded.missing)
        name, image, labels = loaded.name, loaded.picture, found.labels.array
        maps = {'prediction': labels[::step, ::step]}
        if name in self.truth:
            truth = self._read_truth(self.truth[name], labels.shape)
            maps = {'truth': truth[::step, ::step], **maps}
        sheet = draw_segmentation(image, maps, self.classes, self.palette, self.options.opacity)
        save(sheet, self.out / f'{name}.png')
        self._write_files(name, found, place)

    def _write_files(self, name: str, found: Segmented, place: dict | None) -> None:
        path = label_paths(name, self.out, place is not None)[0]
        write_labels(path, found.labels, self.names, self.palette, place)
        if found.probabilities is not None:
            path = probability_path(name, self.out, place is not None)
            write_probabilities(path, found.probabilities, self.names, place)

    def describe(self, found: Any) -> None:
        """Return nothing: labels are no list."""

    def paint(self, picture: np.ndarray, found: Any, show: str) -> np.ndarray:
        """Paint the classes over a frame, or alone."""
        labels = found.pred_sem_seg.data[0].numpy().astype(int)
        opacity = 1 if show == 'labels' else self.options.opacity
        return paint(picture, labels, self.palette, opacity)

    def _read_truth(self, path: Path, shape: tuple[int, int]) -> np.ndarray:
        """Read labels as training does: zero reduced, classes mapped as the data set says.

        Raises:
            UserError: They are of another size.
            DataError: They are no classes.
        """
        from mmseg.datasets import LoadAnnotations

        results = {
            'seg_map_path': str(path),
            'reduce_zero_label': self.dataset.reduce_zero_label,
            'label_map': self.dataset.label_map,
            'seg_fields': [],
        }
        truth = LoadAnnotations()(results)['gt_seg_map']
        if truth.shape != shape:
            raise UserError(
                f'{path} has the size {truth.shape[:2]} (height, width), the picture {shape}: '
                'correct --truth'
            )
        check = CheckLabels(len(self.classes), self.dataset.ignore_index)
        return check({**results, 'gt_seg_map': truth})['gt_seg_map']


class Classification(Task):
    """The five likeliest classes: ``OUT/<name>.png`` and an entry of the predictions."""

    def write(self, loaded: Loaded, found: Any) -> list[dict]:
        """Write the picture, return the entry."""
        best = self.describe(found)
        lines = [f'{entry["score"]:.3f}  {entry["class"]}' for entry in best]
        save(draw_classification(loaded.picture, lines), self.out / f'{loaded.name}.png')
        return best

    def describe(self, found: Any) -> list[dict]:
        """Return the entry of the predictions."""
        return self.predictor.find_best(found.pred_score)

    def paint(self, picture: np.ndarray, found: Any, show: str) -> np.ndarray:
        """Write the likeliest class over a frame."""
        best = self.describe(found)[0]
        return write_over(picture, f'{best["score"]:.2f}  {best["class"]}')


TASKS: dict[str, type[Task]] = {
    'mmseg': Segmentation,
    'mmpretrain': Classification,
    'mmdet': Detection,
}
