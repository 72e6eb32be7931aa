"""Swin Transformer in Mask R-CNN.

A config sets ``backbone.arch`` and ``neck.in_channels`` to go with it.
"""

_base_ = './mask-rcnn.py'

model = dict(
    backbone=dict(type='mmvit_plugins.SwinTransformer', arch='tiny', drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
