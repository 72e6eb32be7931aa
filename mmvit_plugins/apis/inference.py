"""Predict pictures in a file or folder with any config, and write what can be looked at."""

import json
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.utils import track_iter_progress
from PIL import Image

from ..analysis.build import build_model
from ..checkpoint import read_checkpoint
from ..config import load_config
from ..datasets.coco_checks import read_coco
from ..errors import UserError
from ..visualization import Boxes, draw_classification, draw_detection, draw_segmentation

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


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

    Raises:
        UserError: Nothing to predict, a wrong argument, or, after all others are written, pictures
            that could not be read.
    """
    predictors = {'mmseg': Segmenter, 'mmpretrain': Classifier, 'mmdet': Detector}
    check_opacity(opacity)
    if not 0 <= score_threshold <= 1:
        raise UserError(f'score_threshold={score_threshold}: give a number from 0 to 1')
    cfg = load_scoped_config(config, cfg_options, predictors)
    pictures = find_pictures(source)
    meta = read_checkpoint(checkpoint).get('meta') or {}
    predictor = predictors[cfg.default_scope](
        cfg, checkpoint, meta.get('dataset_meta') or {}, device or default_device()
    )
    if isinstance(predictor, Segmenter | Detector):
        predictor.opacity = opacity
        predictor.truth = predictor.find_truth(pictures, truth) if truth else {}
    if isinstance(predictor, Detector):
        predictor.score_threshold = score_threshold
    for_each_picture(pictures, out, lambda image, name: predictor(image, name, Path(out)))


def check_opacity(opacity: float) -> None:
    """Refuse what is no share.

    Raises:
        UserError: It is not in 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise UserError(f'opacity={opacity}: give a number from 0 (only the picture) to 1')


def load_scoped_config(path: str, options: dict | None, scopes: Collection[str]) -> Config:
    """Load the config of a host's model, and make its scope the default one.

    Args:
        path: The config file.
        options: Settings that replace those of the config.
        scopes: What ``default_scope`` may be.

    Raises:
        UserError: It does not exist, is for another host, has no model, or cannot run here.
    """
    cfg = load_config(path, options)
    if cfg.get('default_scope') not in scopes:
        raise UserError(
            f'{path} has default_scope={cfg.get("default_scope")!r}, pictures can be made for '
            f'{sorted(scopes)}'
        )
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'{path} has no dict named "model": give the config of a model')
    init_default_scope(cfg.default_scope)
    return cfg


def default_device() -> str:
    """Name the GPU if there is one, else the CPU."""
    return 'cuda:0' if torch.cuda.is_available() else 'cpu'


def for_each_picture(
    pictures: dict[str, Path], out: str, write: Callable[[np.ndarray, str], None]
) -> None:
    """Hand pictures (BGR) and their names to ``write``, one by one, with a progress bar.

    Raises:
        UserError: After all others: the pictures that could not be read.
    """
    unreadable = []
    for name in track_iter_progress(list(pictures)):
        image = read_picture(pictures[name])
        if image is None:
            unreadable.append(str(pictures[name]))
        else:
            write(image, name)
    print_log(f'wrote {len(pictures) - len(unreadable)} pictures to {out}', 'current')
    if unreadable:
        raise UserError(
            f'{len(unreadable)} of {len(pictures)} pictures could not be read, being damaged or no '
            f'pictures: {", ".join(unreadable[:5])}; the others were written'
        )


def find_pictures(source: str) -> dict[str, Path]:
    """Find pictures: what each output is called, without its ending, and the file.

    Raises:
        UserError: There is no picture.
    """
    root = Path(source)
    if root.is_file():
        return {root.stem: root}
    files = sorted(p for p in root.rglob('*') if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        found = 'has no pictures' if root.is_dir() else 'does not exist'
        raise UserError(f'{source} {found}: give a picture or a folder of {" ".join(SUFFIXES)}')
    names = {}
    for file in files:
        name = str(file.relative_to(root).with_suffix(''))
        names[name if name not in names else name + file.suffix] = file
    return names


def read_picture(path: Path) -> np.ndarray | None:
    """Read a picture as BGR ``(H, W, 3)`` as the hosts do, None if it is damaged.

    OpenCV fills what is missing of a cut off file with grey and says nothing; Pillow refuses it.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        print_log(f'{path} is skipped: {error}', 'current', logging.WARNING)
        return None
    return mmcv.imread(str(path))


class Segmenter:
    """A segmentor of mmsegmentation that writes its prediction for a picture.

    Args:
        cfg: The config.
        checkpoint: The weights.
        meta: Classes and palette as the checkpoint knows them, else the config's data set is asked.
        device: Where it runs.
    """

    def __init__(self, cfg: Config, checkpoint: str, meta: dict, device: str) -> None:
        from mmseg.apis import init_model

        self.model = init_model(cfg, None, device)
        load_checkpoint(self.model, checkpoint, map_location='cpu')
        self.dataset = _build_without_data(cfg)
        meta = meta if meta.get('classes') and meta.get('palette') else self.dataset.metainfo
        self.classes, self.palette = meta['classes'], meta['palette']
        self.opacity = 0.6
        self.truth: dict[str, Path] = {}

    def find_truth(self, pictures: dict[str, Path], folder: str) -> dict[str, Path]:
        """Find the annotation of each picture by the suffixes of the config's data set.

        Raises:
            UserError: One is not there.
        """
        found = {}
        for name, path in pictures.items():
            cut = path.name.removesuffix(self.dataset.img_suffix)
            stem = cut if cut != path.name else path.stem
            found[name] = Path(folder, name).parent / (stem + self.dataset.seg_map_suffix)
            if not found[name].is_file():
                raise UserError(f'{path} has no annotation {found[name]}: correct --truth')
        return found

    def __call__(self, image: np.ndarray, name: str, out: Path) -> None:
        """Write ``OUT/<name>.png`` and ``OUT/labels/<name>.png`` for a BGR picture."""
        from mmseg.apis import inference_model

        sample = inference_model(self.model, image)
        labels = sample.pred_sem_seg.data[0].cpu().numpy()
        maps = {'prediction': labels}
        if name in self.truth:
            maps = {'truth': self._read_truth(self.truth[name]), **maps}
        sheet = draw_segmentation(image[..., ::-1], maps, self.classes, self.palette, self.opacity)
        save(sheet, out / f'{name}.png')
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        save(Image.fromarray(labels.astype(kind)), out / 'labels' / f'{name}.png')

    def _read_truth(self, path: Path) -> np.ndarray:
        """Read labels as training does: zero reduced, classes mapped as the data set says."""
        from mmseg.datasets import LoadAnnotations

        results = {
            'seg_map_path': str(path),
            'reduce_zero_label': self.dataset.reduce_zero_label,
            'label_map': self.dataset.label_map,
            'seg_fields': [],
        }
        return LoadAnnotations()(results)['gt_seg_map']


class Classifier:
    """A classifier of mmpretrain that writes the five likeliest classes for a picture.

    Args:
        cfg: The config.
        checkpoint: The weights.
        meta: Classes as the checkpoint knows them, else they are numbered.
        device: Where it runs.
    """

    def __init__(self, cfg: Config, checkpoint: str, meta: dict, device: str) -> None:
        from mmpretrain import ImageClassificationInferencer

        self.inferencer = ImageClassificationInferencer(cfg, checkpoint, device)
        self.classes = meta.get('classes') or self.inferencer.classes
        self.predictions: dict[str, list[dict]] = {}

    def __call__(self, image: np.ndarray, name: str, out: Path) -> None:
        """Write ``OUT/<name>.png`` for a BGR picture and add to ``OUT/predictions.json``."""
        # The parts of the inferencer's call, which would draw a progress bar for each picture.
        batch = next(self.inferencer.preprocess([image]))
        scores = self.inferencer.forward(batch)[0].pred_score.cpu()
        values, labels = scores.topk(min(5, len(scores)))
        best = [
            {
                'class': str(self.classes[label] if self.classes else label),
                'label': label,
                'score': round(value, 6),
            }
            for value, label in zip(values.tolist(), labels.tolist(), strict=True)
        ]
        lines = [f'{entry["score"]:.3f}  {entry["class"]}' for entry in best]
        save(draw_classification(image[..., ::-1], lines), out / f'{name}.png')
        self.predictions[name] = best
        (out / 'predictions.json').write_text(json.dumps(self.predictions, indent=1))


class Detector:
    """A detector of mmdetection that writes its boxes for a picture, and its masks if it has any.

    Args:
        cfg: The config.
        checkpoint: The weights.
        meta: Classes and palette as the checkpoint knows them, else the config's data set is asked.
        device: Where it runs.
    """

    def __init__(self, cfg: Config, checkpoint: str, meta: dict, device: str) -> None:
        # mmdetection's own init_detector takes COCO's names where the checkpoint has none
        self.model, _ = open_model(cfg, checkpoint, device)
        self.model.cfg = cfg  # inference_detector reads its test pipeline
        known = meta if meta.get('classes') else find_metainfo(cfg, checkpoint)
        self.classes = list(known.get('classes', ()))
        palette = known.get('palette')
        self.palette = palette if isinstance(palette, list | tuple) else None
        self.opacity = 0.6
        self.score_threshold = 0.3
        self.truth: dict[str, dict] = {}
        self.predictions: dict[str, list[dict]] = {}

    def find_truth(self, pictures: dict[str, Path], file: str) -> dict[str, dict]:
        """Find what a COCO file says of each picture, by name, as mmdetection's data set reads it.

        Raises:
            DataError: It is no COCO file.
            UserError: It has no class of the model, or lacks a picture.
        """
        from mmdet.datasets import CocoDataset

        content = read_coco(file)
        names = list(content.categories.values()) if content else []
        if not set(names) & set(self.classes):
            raise UserError(
                f'{file} has the categories {names[:5]}, the model the classes '
                f'{self.classes[:5]}: none in common, correct --truth'
            )
        dataset = CocoDataset(
            ann_file=file,
            metainfo={'classes': tuple(self.classes)},
            data_prefix={'img': ''},
            pipeline=[],
            test_mode=True,
            serialize_data=False,
        )
        entries = {Path(entry['img_path']): entry for entry in dataset.data_list}
        found = {}
        for name, path in pictures.items():
            # the file may name pictures with some of the folders that they are in
            parts = path.absolute().parts
            tails = (Path(*parts[start:]) for start in range(len(parts)))
            found[name] = next((entries[tail] for tail in tails if tail in entries), None)
            if found[name] is None:
                raise UserError(f'{file} has no picture of the name {path.name}: correct --truth')
        return found

    def __call__(self, image: np.ndarray, name: str, out: Path) -> None:
        """Write ``OUT/<name>.png`` for a BGR picture and add to ``OUT/predictions.json``."""
        from mmdet.apis import inference_detector

        found = inference_detector(self.model, image).pred_instances.cpu().numpy()
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
        sheet = draw_detection(image[..., ::-1], panels, self.classes, self.palette, self.opacity)
        save(sheet, out / f'{name}.png')
        self.predictions[name] = self._list(found)
        (out / 'predictions.json').write_text(json.dumps(self.predictions, indent=1))

    def _list(self, found: Any) -> list[dict]:
        """Turn predictions into what JSON can hold."""
        from mmdet.structures.mask import encode_mask_results

        entries = []
        for label, score, box in zip(found.labels, found.scores, found.bboxes, strict=True):
            known = label < len(self.classes)
            entries.append(
                {
                    'class': str(self.classes[label] if known else label),
                    'label': int(label),
                    'score': round(float(score), 6),
                    'bbox': [round(float(side), 2) for side in box],
                }
            )
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


def _build_without_data(cfg: Config) -> Any:
    """Build the config's test data set, for its classes and suffixes; no file is looked for."""
    from mmseg.registry import DATASETS

    return DATASETS.build({**find_test_dataset(cfg), 'pipeline': [], 'lazy_init': True})


def find_test_dataset(cfg: Config) -> dict:
    """Find the data set to test on (else to validate on) in its config, inside of all wrappers.

    Raises:
        UserError: There is none.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise UserError(
            f'{cfg.filename} has no test_dataloader, which tells how pictures are prepared: add one'
        )
    dataset = loader.dataset
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.dataset if 'dataset' in dataset else dataset.datasets[0]
    return dataset


def open_model(
    cfg: Config,
    checkpoint: str,
    device: str | None,
    check: Callable[[BaseModel], object] = lambda model: None,
) -> tuple[BaseModel, Compose]:
    """Build the config's model with its weights, and the pipeline that reads a picture for it.

    Args:
        cfg: The config of a classifier, segmentor or detector.
        checkpoint: The weights.
        device: As ``cuda:0``; the GPU if there is one.
        check: What else refuses the model, before its weights are loaded.

    Raises:
        UserError: It is no complete model with a backbone, or its test data are no picture files.
    """
    read_checkpoint(checkpoint)
    if cfg.get('data_preprocessor') and 'backbone' in cfg.model:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    steps = [step for step in find_test_dataset(cfg).pipeline if not is_for_annotations(step)]
    if not any('LoadImage' in str(step['type']) for step in steps):
        raise UserError(
            f'the test pipeline of {cfg.filename} loads no picture files (LSGA-ViT, for one, '
            'sees windows of a scene): give a config whose pipeline has LoadImageFromFile'
        )
    model = build_model(cfg)
    if not isinstance(model, BaseModel) or getattr(model, 'backbone', None) is None:
        raise UserError(
            f'the model is a {type(model).__name__}: give the config of a classifier, segmentor or '
            'detector with a backbone'
        )
    check(model)
    load_checkpoint(model, checkpoint, map_location='cpu')
    return model.to(device or default_device()), Compose(steps)


def open_picture(model: BaseModel, pipeline: Compose, path: Path) -> tuple[np.ndarray, dict]:
    """Read a picture: what the network sees of it, RGB ``(H, W, 3)`` without padding, and a batch.

    The pipeline reads the file itself, as it decodes it; mmdetection packs the id.
    """
    sample = pipeline({'img_path': str(path), 'img_id': 0})
    return to_picture(sample['inputs']), model.data_preprocessor(pseudo_collate([sample]), False)


def find_class_names(cfg: Config, checkpoint: str) -> Sequence[str]:
    """Find the names of the classes: the checkpoint's, else the test data set's, else none."""
    return find_metainfo(cfg, checkpoint).get('classes', ())


def find_metainfo(cfg: Config, checkpoint: str) -> dict:
    """Find classes and palette: the checkpoint's, else the test data set's, else nothing."""
    meta = read_checkpoint(checkpoint).get('meta') or {}
    dataset = find_test_dataset(cfg)
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        kind = registry.get(dataset.type) if isinstance(dataset.type, str) else dataset.type
    for known in (meta.get('dataset_meta'), dataset.get('metainfo'), getattr(kind, 'METAINFO', {})):
        if known and known.get('classes'):
            return known
    return {}


def is_for_annotations(step: dict) -> bool:
    """Tell whether a step of a pipeline loads annotations, which a picture alone does not have."""
    kind = str(step['type']).rpartition('.')[2]
    return kind.startswith('Load') and 'Annotation' in kind


def to_picture(inputs: torch.Tensor) -> np.ndarray:
    """Turn what a pipeline packs, ``(C, H, W)`` in BGR, into RGB ``(H, W, 3)``, uint8.

    What the pipeline itself has normalised is stretched to what a picture can hold.

    Raises:
        UserError: It is no picture of 1 or 3 channels.
    """
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3 or inputs.shape[0] not in (1, 3):
        came = list(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise UserError(
            f'the test pipeline gives {came}, where one picture (1 or 3, H, W) can be shown: leave '
            'out what makes several views of it'
        )
    pixels = inputs.float()
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        pixels = (pixels - low) / ((high - low) or 1) * 255
    return pixels.flip(0).expand(3, -1, -1).permute(1, 2, 0).round().byte().numpy()


def save(image: Image.Image, path: Path) -> None:
    """Write a picture; its folder is made where needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
