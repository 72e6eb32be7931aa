"""Predict pictures in a file or folder with any config, and write what can be looked at."""

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from ..datasets.coco_checks import read_coco
from ..datasets.label_maps import CheckLabels
from ..errors import UserError
from ..registry import HOSTS
from ..visualization import Boxes, draw_classification, draw_detection, draw_segmentation
from .outputs import check_outputs
from .pictures import PREDICTIONS, drawn, find_pictures, for_each_picture, save
from .predictor import Predictor, check_opacity, find_test_dataset, load_scoped_config


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
) -> None:
    """Write a picture for each input picture, and what is predicted as files for programs.

    Segmentation writes ``OUT/<name>.png``, input and prediction above a legend, and
    ``OUT/labels/<name>.png``, the class of each pixel counted from 0. Classification writes
    ``OUT/<name>.png`` and ``OUT/predictions.json``, the five likeliest classes. Detection writes
    ``OUT/<name>.png``, boxes (and masks) over the picture, and ``OUT/predictions.json``: for each
    picture a list of ``class``, ``label``, ``score``, ``bbox`` (``x0, y0, x1, y1`` in its pixels)
    and, of models that predict them, ``mask`` (COCO's compressed RLE), best first. Folders are
    searched to any depth.

    Args:
        config: The config file; its ``default_scope`` decides on the task.
        checkpoint: The weights.
        source: A picture or a folder.
        out: The folder to write into.
        device: As ``cuda:0``; the GPU if there is one.
        opacity: Of the painted classes, 0 to 1.
        truth: Adds the truth to the pictures: a folder of label maps in the layout of ``source``,
            or a COCO file of boxes.
        score_threshold: What a box must reach to be drawn and listed.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether pictures of an earlier run may be replaced.

    Raises:
        UserError: Nothing to predict, a wrong argument, or, after all others are written, pictures
            that could not be read.
    """
    check_opacity(opacity)
    if not 0 <= score_threshold <= 1:
        raise UserError(f'score_threshold={score_threshold}: give a number from 0 to 1')
    pictures = find_pictures(source)
    cfg = load_scoped_config(config, cfg_options, HOSTS)
    kind = TASKS[cfg.default_scope]
    inputs = [source, truth, config, checkpoint]
    check_outputs(kind.outputs(pictures, Path(out)), inputs, overwrite)
    predictor = Predictor(cfg, checkpoint, device)
    task = kind(predictor, Path(out), opacity, score_threshold)
    if truth:
        task.find_truth(pictures, truth)
    for_each_picture(pictures, out, task)


class Task:
    """Writes what a model predicts of a picture.

    Args:
        predictor: The opened model.
        out: The folder to write into.
        opacity: Of what is painted over a picture, 0 to 1.
        score_threshold: What a box must reach.
    """

    def __init__(
        self, predictor: Predictor, out: Path, opacity: float, score_threshold: float
    ) -> None:
        self.predictor, self.out = predictor, out
        self.opacity, self.score_threshold = opacity, score_threshold
        self.truth: dict[str, Any] = {}

    @staticmethod
    def outputs(pictures: dict[str, Path], out: Path) -> list[Path]:
        """List what will be written."""
        return [*drawn(pictures, out), out / PREDICTIONS]

    def find_truth(self, pictures: dict[str, Path], place: str) -> None:
        """Find the truth of each picture; the base class knows none.

        Raises:
            UserError: There is none, or not of all pictures.
        """
        raise UserError(f'{place}: only segmentors and detectors show a truth, leave --truth out')


class Segmentation(Task):
    """Label maps: ``OUT/<name>.png`` and ``OUT/labels/<name>.png``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        config = {**find_test_dataset(self.predictor.cfg), 'pipeline': [], 'lazy_init': True}
        with DATASETS.switch_scope_and_registry('mmseg') as registry:
            self.dataset = registry.build(config)  # for suffixes; no file is looked for
        self.classes, self.palette = self.predictor.classes, self.predictor.palette
        if not self.classes or not self.palette:
            metainfo = self.dataset.metainfo
            self.classes, self.palette = metainfo['classes'], metainfo['palette']

    @staticmethod
    def outputs(pictures: dict[str, Path], out: Path) -> list[Path]:
        """List what will be written."""
        return [*drawn(pictures, out), *drawn(pictures, out / 'labels')]

    def find_truth(self, pictures: dict[str, Path], place: str) -> None:
        """Find the annotation of each picture by the suffixes of the config's data set."""
        for name, path in pictures.items():
            cut = path.name.removesuffix(self.dataset.img_suffix)
            stem = cut if cut != path.name else path.stem
            file = Path(place, name).parent / (stem + self.dataset.seg_map_suffix)
            if not file.is_file():
                raise UserError(f'{path} has no annotation {file}: correct --truth')
            self.truth[name] = file

    def __call__(self, path: Path, name: str) -> None:
        """Write the two pictures."""
        image, sample = self.predictor.predict(path)
        labels = sample.pred_sem_seg.data[0].numpy()
        maps = {'prediction': labels}
        if name in self.truth:
            maps = {'truth': self._read_truth(self.truth[name], labels.shape), **maps}
        sheet = draw_segmentation(image, maps, self.classes, self.palette, self.opacity)
        save(sheet, self.out / f'{name}.png')
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        save(Image.fromarray(labels.astype(kind)), self.out / 'labels' / f'{name}.png')

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

    def __call__(self, path: Path, name: str) -> list[dict]:
        """Write the picture, return the entry."""
        image, sample = self.predictor.predict(path)
        best = self.predictor.find_best(sample.pred_score)
        lines = [f'{entry["score"]:.3f}  {entry["class"]}' for entry in best]
        save(draw_classification(image, lines), self.out / f'{name}.png')
        return best


class Detection(Task):
    """Boxes, and masks if there are any: ``OUT/<name>.png`` and an entry of the predictions."""

    def find_truth(self, pictures: dict[str, Path], place: str) -> None:
        """Find what a COCO file says of each picture, by name, as mmdetection's data set reads it.

        Raises:
            DataError: It is no COCO file.
            UserError: It has no class of the model, or lacks a picture.
        """
        from mmdet.datasets import CocoDataset

        classes = self.predictor.classes
        names = list(read_coco(place).categories.values())
        if not set(names) & set(classes):
            raise UserError(
                f'{place} has the categories {names[:5]}, the model the classes {classes[:5]}: '
                'none in common, correct --truth'
            )
        dataset = CocoDataset(
            ann_file=place,
            metainfo={'classes': tuple(classes)},
            data_prefix={'img': ''},
            pipeline=[],
            test_mode=True,
            serialize_data=False,
        )
        entries = {Path(entry['img_path']): entry for entry in dataset.data_list}
        for name, path in pictures.items():
            # the file may name pictures with some of the folders that they are in
            parts = path.absolute().parts
            tails = (Path(*parts[start:]) for start in range(len(parts)))
            self.truth[name] = next((entries[tail] for tail in tails if tail in entries), None)
            if self.truth[name] is None:
                raise UserError(f'{place} has no picture of the name {path.name}: correct --truth')

    def __call__(self, path: Path, name: str) -> list[dict]:
        """Write the picture, return the entry."""
        image, sample = self.predictor.predict(path)
        found = sample.pred_instances.numpy()
        found = found[found.scores >= self.score_threshold]
        found = found[np.argsort(-found.scores, kind='stable')]
        masks = found.get('masks')
        panels = {'prediction': Boxes(found.bboxes, found.labels, found.scores, masks)}
        if name in self.truth:
            entry = self.truth[name]
            if image.shape[:2] != (entry['height'], entry['width']):
                raise UserError(
                    f'the picture {name} is {image.shape[1]} wide and {image.shape[0]} high, in '
                    f'the file of the truth {entry["width"]} and {entry["height"]}: correct --truth'
                )
            panels = {'truth': self._read_truth(entry, masks is not None), **panels}
        classes, palette = self.predictor.classes, self.predictor.palette
        sheet = draw_detection(image, panels, classes, palette, self.opacity)
        save(sheet, self.out / f'{name}.png')
        return self._list(found)

    def _list(self, found: Any) -> list[dict]:
        """Turn predictions into what JSON can hold."""
        from mmdet.structures.mask import encode_mask_results

        classes = self.predictor.classes
        entries = [
            {
                'class': str(classes[label] if label < len(classes) else label),
                'label': int(label),
                'score': round(float(score), 6),
                'bbox': [round(float(side), 2) for side in box],
            }
            for label, score, box in zip(found.labels, found.scores, found.bboxes, strict=True)
        ]
        if 'masks' in found:
            for entry, code in zip(entries, encode_mask_results(found.masks), strict=True):
                entry['mask'] = {'size': code['size'], 'counts': code['counts'].decode()}
        return entries

    def _read_truth(self, entry: dict, with_masks: bool) -> Boxes:
        """Read the boxes of a picture as training does; masks too, where all boxes have one."""
        from mmdet.datasets.transforms import LoadAnnotations

        with_masks = with_masks and all('mask' in box for box in entry['instances'])
        load = LoadAnnotations(with_bbox=True, with_mask=with_masks, box_type=None)
        truth = load({**entry, 'ori_shape': (entry['height'], entry['width'])})
        masks = truth['gt_masks'].masks.astype(bool) if with_masks else None
        return Boxes(truth['gt_bboxes'], truth['gt_bboxes_labels'], None, masks)


TASKS: dict[str, type[Task]] = {
    'mmseg': Segmentation,
    'mmpretrain': Classification,
    'mmdet': Detection,
}
