"""Swin-B with 1000 classes as mmpretrain ships it.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/mmpretrain_swin-base_in1k.py CONFIG
"""

_base_ = './mmpretrain_swin-tiny_in1k.py'

model = dict(backbone=dict(arch='base'), head=dict(in_channels=1024))
