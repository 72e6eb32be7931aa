"""ResNet-50 as mmpretrain ships it: the convolutional network that SG-Former is compared with.

A config sets ``num_classes``.
"""

_base_ = './classifier.py'

model = dict(
    backbone=dict(type='ResNet', depth=50, drop_path_rate=0.1),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
    ),
)
