"""Swin-T with 1000 classes as mmpretrain ships it, without a shift where a map is just one window.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/mmpretrain_swin-tiny_in1k.py CONFIG
"""

_base_ = '../_base_/models/mmpretrain_swin_cls.py'

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(backbone=dict(pad_small_map=False))
