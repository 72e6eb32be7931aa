"""Swin Transformer in RetinaNet.

A config sets ``backbone.arch`` and ``neck.in_channels`` to go with it.
"""

_base_ = './retinanet.py'

model = dict(
    backbone=dict(
        type='mmvit_plugins.SwinTransformer', arch='tiny', out_indices=(1, 2, 3), drop_path_rate=0.2
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
