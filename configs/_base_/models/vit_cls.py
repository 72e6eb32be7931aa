"""DeiT-Ti of mmpretrain as a classifier: the small ViT that can say where to look.

A config sets ``num_classes``.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(
        type='VisionTransformer', arch='deit-tiny', img_size=224, patch_size=16, drop_path_rate=0.1
    ),
    neck=None,
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=1000,
        in_channels=192,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
