"""Configs with drawn weights, and a picture, for tools that draw pictures."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
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
