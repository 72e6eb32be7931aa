"""AFFormer as a classifier: global average of the last map, one linear layer.

The authors' code holds this head commented out. Regularisation is DeiT's: drop path 0.1, label
smoothing 0.1, and for each batch either Mixup or CutMix.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(type='mmvit_plugins.AFFormer', arch='tiny', out_indices=(3,), drop_path_rate=0.1),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=216,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
