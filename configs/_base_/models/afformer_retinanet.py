"""AFFormer in RetinaNet.

The maps of strides 8, 8, 8 become a pyramid first. A config sets ``backbone.arch`` and the channels
of both necks.
"""

_base_ = './retinanet.py'

model = dict(
    backbone=dict(type='mmvit_plugins.AFFormer', arch='base', out_indices=(1, 2, 3)),
    neck=[
        dict(
            type='mmvit_plugins.ToPyramid',
            in_channels=[176, 216, 216],
            in_strides=[8, 8, 8],
            out_strides=[8, 16, 32],
        ),
        {**_base_.model.neck, 'in_channels': [176, 216, 216]},
    ],
)
