"""SG-Former as a segmentor: a feature pyramid on the four maps and Semantic FPN's head.

A config sets ``backbone.arch``, ``neck.in_channels`` to go with it, ``decode_head.num_classes`` and
``data_preprocessor.size``, the training crop (height, width) that smaller pictures are padded to.
"""

_base_ = './segmentor.py'

model = dict(
    backbone=dict(type='mmvit_plugins.SGFormer', arch='small', drop_path_rate=0.1),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=256, num_outs=4),
    decode_head=dict(
        type='FPNHead',
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
)
