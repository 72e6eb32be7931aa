"""Segmentors whose answer for each pixel can be computed by hand, and what NumPy says of them."""

from pathlib import Path

import numpy as np
import torch
from mmseg.registry import MODELS

from mmvit_plugins.analysis import build_model
from mmvit_plugins.apis.predictor import load_scoped_config

MEAN, STD = 120.0, 60.0
CONFIG = """
default_scope = 'mmseg'
norm = dict(mean=[120.0] * 3, std=[60.0] * 3, bgr_to_rgb=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', seg_pad_val=255, **norm),
    backbone=dict(type='PixelsAndMean', context=CONTEXT),
    decode_head=dict(
        type='FCNHead', num_convs=0, concat_input=False, in_channels=3, channels=3, num_classes=4,
        dropout_ratio=0.0, align_corners=False),
    test_cfg=dict(mode='whole'))
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
test_dataloader = dict(dataset=dict(
    type='BaseSegDataset', pipeline=test_pipeline, metainfo=dict(
        classes=('soil', 'grass', 'road & rail', 'roof'),
        palette=[[90, 60, 30], [0, 160, 0], [128, 128, 128], [200, 30, 30]])))
"""
CLASSES = ['soil', 'grass', 'road & rail', 'roof']
PALETTE = [[90, 60, 30], [0, 160, 0], [128, 128, 128], [200, 30, 30]]


@MODELS.register_module(force=True)
class PixelsAndMean(torch.nn.Module):
    """Hands on each pixel and, ``context`` times, the mean of all that it was given."""

    def __init__(self, context: float) -> None:
        super().__init__()
        self.context = context

    def forward(self, x):
        return (x + self.context * x.mean((2, 3), keepdim=True),)


def write_segmentor(folder: Path, context: float = 0.0, change=('', '')):
    """Write a config and weights; return both paths, and what computes logits with NumPy."""
    config, checkpoint = folder / 'pixels.py', folder / 'pixels.pth'
    config.write_text(CONFIG.replace('CONTEXT', str(context)).replace(*change))
    model = build_model(load_scoped_config(str(config), None, ['mmseg']))
    torch.manual_seed(0)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, std=2)
    torch.nn.init.normal_(model.decode_head.conv_seg.bias)
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    weight = model.decode_head.conv_seg.weight.detach().numpy()[:, :, 0, 0].astype(float)
    bias = model.decode_head.conv_seg.bias.detach().numpy().astype(float)

    def logits(picture: np.ndarray) -> np.ndarray:
        """``(H, W, 3)`` RGB -> ``(K, H, W)``."""
        pixels = (picture.astype(float) - MEAN) / STD
        pixels = pixels + context * pixels.mean((0, 1))
        return np.einsum('kc,hwc->khw', weight, pixels) + bias[:, None, None]

    return str(config), str(checkpoint), logits


def softmax(logits: np.ndarray) -> np.ndarray:
    values = np.exp(logits - logits.max(0))
    return values / values.sum(0)


def draw(height: int, width: int, side: int = 1) -> np.ndarray:
    """Draw squares of chance colours, RGB."""
    rng = np.random.default_rng(0)
    squares = rng.integers(1, 256, (height // side + 1, width // side + 1, 3), np.uint8)
    return np.ascontiguousarray(squares.repeat(side, 0).repeat(side, 1)[:height, :width])
