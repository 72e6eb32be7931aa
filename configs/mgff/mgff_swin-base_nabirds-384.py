"""MGFF on Swin-B, NABirds, 384x384: 50 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_swin-base_nabirds-384.py
Cost:      113.54 M parameters, 51.79 GFLOPs at 384x384 (tools/get_flops.py).
Published: nothing that could be obtained, one look alone is not reported.
Ours:      not trained, the pictures could not be had.

As ``mgff_swin-base_cub-384.py``.
"""

_base_ = [
    '../_base_/models/mgff_swin-base_384.py',
    '../_base_/datasets/nabirds_384.py',
    '../_base_/schedules/mgff_sgd.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=555), head=dict(num_classes=555))
