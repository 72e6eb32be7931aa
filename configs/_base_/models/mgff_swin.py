"""Swin with MGFF as a classifier: four maps after their merging, fused into one vector.

The paper's maps are those after the merging that ends a stage, at strides 8, 16, 32, 32. The last
map is one window (7x7 at 224x224, 12x12 at 384x384 with ``window_size=12``), hence ``small_map``:
published classifiers were trained so. A config sets ``backbone.arch``, the channels that follow
from it, ``neck.grid_size`` (input size / 32) and ``num_classes``.
"""

_base_ = './swin_cls.py'

model = dict(
    backbone=dict(
        out_indices=(0, 1, 2, 3),
        out_after_downsample=True,
        small_map='shrink',
    ),
    neck=dict(
        _delete_=True,
        type='mmvit_plugins.MGFF',
        in_channels=(192, 384, 768, 768),
        strides=(8, 16, 32, 32),
        grid_size=7,
    ),
    head=dict(type='mmvit_plugins.MGFFHead', drop_rate=0.1),
)
