"""SG-Former in Mask R-CNN.

A config sets ``backbone.arch`` and ``neck.in_channels`` to go with it.
"""

_base_ = './mask-rcnn.py'

model = dict(
    backbone=dict(type='mmvit_plugins.SGFormer', arch='small', drop_path_rate=0.1),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
