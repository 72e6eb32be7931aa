"""MGFF on Swin-B, CUB-200-2011, 384x384, at a momentum of 0.9: 50 epochs (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_swin-base_low-momentum_cub-384.py
Cost:      113.17 M parameters, 51.79 GFLOPs at 384x384 (tools/get_flops.py).
Published: nothing, the schedule is ours after PIM.
Ours:      not trained, the pictures could not be had.

For runs of ``mgff_swin-base_cub-384.py`` that diverge.
"""

_base_ = [
    '../_base_/models/mgff_swin-base_384.py',
    '../_base_/datasets/cub_384.py',
    '../_base_/schedules/mgff_sgd_low-momentum.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=200), head=dict(num_classes=200))
