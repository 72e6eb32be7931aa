"""AFFormer in Mask R-CNN.

The maps of strides 4, 8, 8, 8 become a pyramid first. A config sets ``backbone.arch`` and the
channels of both necks.
"""

_base_ = './mask-rcnn.py'

model = dict(
    backbone=dict(type='mmvit_plugins.AFFormer', arch='base'),
    neck=[
        dict(
            type='mmvit_plugins.ToPyramid',
            in_channels=[96, 176, 216, 216],
            in_strides=[4, 8, 8, 8],
            out_strides=[4, 8, 16, 32],
        ),
        {**_base_.model.neck, 'in_channels': [96, 176, 216, 216]},
    ],
)
