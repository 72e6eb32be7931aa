"""SG-Former as a classifier: global average of the last map, one linear layer.

A config sets ``backbone.arch``, ``head.in_channels`` and ``num_classes``, and adds Mixup or CutMix
where its recipe has them.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClsDataPreprocessor',
        num_classes=1000,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type='mmvit_plugins.SGFormer', arch='small', out_indices=(3,), drop_path_rate=0.1
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=512,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
