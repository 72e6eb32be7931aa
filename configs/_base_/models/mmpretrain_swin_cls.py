"""Swin-T as mmpretrain ships it: the transformer that SG-Former is compared with.

Weights start as in mmpretrain's own config. Maps smaller than a window are padded to one, so that
small inputs run too; mmpretrain then also shifts, masked, where a map is just one window, as in the
last block at 224x224. A config sets ``num_classes``.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(type='SwinTransformer', arch='tiny', drop_path_rate=0.1, pad_small_map=True),
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
