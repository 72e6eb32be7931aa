"""T2T-ViT as a classifier: one linear layer on the class token.

A config sets ``backbone.arch``, ``head.in_channels`` and ``num_classes``, and adds Mixup or CutMix
where its recipe has them. The head starts as the backbone's layers do.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(type='mmvit_plugins.T2TViT', arch='14', out_type='cls_token', drop_path_rate=0.1),
    neck=None,
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=384,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
