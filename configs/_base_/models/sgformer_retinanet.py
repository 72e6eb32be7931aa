"""SG-Former in RetinaNet.

A config sets ``backbone.arch`` and ``neck.in_channels`` to go with it.
"""

_base_ = './retinanet.py'

model = dict(
    backbone=dict(
        type='mmvit_plugins.SGFormer', arch='small', out_indices=(1, 2, 3), drop_path_rate=0.1
    ),
    neck=dict(in_channels=[128, 256, 512]),
)
