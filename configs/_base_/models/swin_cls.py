"""Swin-T as mmpretrain ships it: the transformer that SG-Former is compared with.

Weights start as in mmpretrain's own config. Maps smaller than a window are padded to one, so that
small inputs run too; mmpretrain then also shifts, masked, where a map is just one window, as in the
last block at 224x224. A config sets ``num_classes``.
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
    backbone=dict(type='SwinTransformer', arch='tiny', drop_path_rate=0.1, pad_small_map=True),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        init_cfg=None,  # as the backbone
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    init_cfg=[
        dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
    ],
)
