"""Configs with drawn weights, a picture, and mmdetection's names, for tools that draw pictures."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import DefaultScope, Registry
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import nn

from mmvit_plugins.analysis import build_model


def write_model(folder: Path, text: str, meta: dict | None = None) -> tuple[str, str, nn.Module]:
    """Write a config and drawn weights for it; return both paths, and the model."""
    config, checkpoint = folder / 'config.py', folder / 'weights.pth'
    config.write_text(text)
    cfg = Config.fromfile(config)
    if 'data_preprocessor' in cfg:
        cfg.model.data_preprocessor = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = build_model(cfg)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    torch.save({'state_dict': model.state_dict(), 'meta': meta or {}}, checkpoint)
    return str(config), str(checkpoint), model


def write_picture(path: Path, height: int = 90, width: int = 110) -> np.ndarray:
    """Write a picture of coloured squares; return it, RGB ``(height, width, 3)``."""
    squares = np.random.default_rng(0).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    pixels = squares.repeat(10, 0).repeat(10, 1)
    Image.fromarray(pixels).save(path)
    return pixels


class PackDetInputs:
    """What mmdetection's class of this name does to a picture."""

    def __call__(self, results: dict) -> dict:
        sample = {key: results[key] for key in ('img_id', 'img_path', 'img_shape')}
        image = torch.tensor(results['img']).permute(2, 0, 1)
        return {'inputs': image, 'data_samples': BaseDataElement(metainfo=sample)}


@contextmanager
def mmdetection(**detectors: type):
    """Put registries of mmdetection in place, with a preprocessor, packing, and these detectors."""
    models = Registry('model', parent=ROOT_MODELS, scope='mmdet')
    transforms = Registry('transform', parent=ROOT_TRANSFORMS, scope='mmdet')
    try:
        models.register_module('DetDataPreprocessor', module=ImgDataPreprocessor)
        transforms.register_module('PackDetInputs', module=PackDetInputs)
        for name, detector in detectors.items():
            models.register_module(name, module=detector)
        yield models
    finally:
        ROOT_MODELS.children.pop('mmdet')
        ROOT_TRANSFORMS.children.pop('mmdet')
