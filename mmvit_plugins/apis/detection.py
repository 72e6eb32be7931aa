"""Detection: what is written of pictures in which a model found boxes."""

from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.coco_checks import read_coco
from ..errors import UserError
from ..visualization import Boxes, draw_detection, paint_boxes
from .pictures import save
from .task import Loaded, Task


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

    def write(self, loaded: Loaded, found: Any) -> list[dict]:
        """Write the picture, return the entry."""
        image, name = loaded.picture, loaded.name
        found = self._choose(found)
        panels = {'prediction': boxes_of(found)}
        if name in self.truth:
            entry = self.truth[name]
            if image.shape[:2] != (entry['height'], entry['width']):
                raise UserError(
                    f'the picture {name} is {image.shape[1]} wide and {image.shape[0]} high, in '
                    f'the file of the truth {entry["width"]} and {entry["height"]}: correct --truth'
                )
            panels = {'truth': self._read_truth(entry, 'masks' in found), **panels}
        classes, palette = self.predictor.classes, self.predictor.palette
        sheet = draw_detection(image, panels, classes, palette, self.options.opacity)
        save(sheet, self.out / f'{name}.png')
        return self._list(found)

    def describe(self, found: Any) -> list[dict]:
        """Return the entry of the predictions."""
        return self._list(self._choose(found))

    def paint(self, picture: np.ndarray, found: Any, show: str) -> np.ndarray:
        """Draw the boxes over a frame."""
        boxes = boxes_of(self._choose(found))
        classes, palette = self.predictor.classes, self.predictor.palette
        return paint_boxes(picture, boxes, classes, palette, self.options.opacity)

    def _choose(self, sample: Any) -> Any:
        """Take the boxes that score enough, best first."""
        found = sample.pred_instances.numpy()
        found = found[found.scores >= self.options.score_threshold]
        return found[np.argsort(-found.scores, kind='stable')]

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


def boxes_of(found: Any) -> Boxes:
    """Take what is drawn from mmdetection's instances."""
    return Boxes(found.bboxes, found.labels, found.scores, found.get('masks'))
