"""Swin Transformer as a classifier: global average of the last map, one linear layer.

The head starts as the backbone's linear layers do. A config sets ``backbone.arch``,
``head.in_channels`` and ``num_classes``, and adds Mixup or CutMix where its recipe has them.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(
        type='mmvit_plugins.SwinTransformer', arch='tiny', out_indices=(3,), drop_path_rate=0.1
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
