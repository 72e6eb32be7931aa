"""AFFormer as a segmentor: the last map, two 1x1 convolutions, plain cross entropy.

A config sets ``backbone.arch``, ``decode_head.num_classes`` and ``data_preprocessor.size``, the
training crop (height, width) that smaller pictures are padded to.
"""

_base_ = './segmentor.py'

model = dict(
    backbone=dict(type='mmvit_plugins.AFFormer', arch='tiny'),
    decode_head=dict(
        type='mmvit_plugins.AFFormerHead',
        in_channels=216,
        in_index=3,
        channels=256,
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
