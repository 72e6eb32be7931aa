"""AFFormer as a segmentor: the last map, two 1x1 convolutions, plain cross entropy.

A config sets ``backbone.arch``, ``decode_head.num_classes`` and ``data_preprocessor.size``, the
training crop (height, width) that smaller pictures are padded to.
"""

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(type='mmvit_plugins.AFFormer', arch='tiny'),
    decode_head=dict(
        type='mmvit_plugins.AFFormerHead',
        in_channels=216,
        in_index=3,
        channels=256,
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
