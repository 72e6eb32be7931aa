"""MGFF on SG-Former-S, grocery22, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_sgformer-small_grocery22.py
Cost:      30.37 M parameters, 5.28 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

The recipe of ``../sgformer/sgformer_small_grocery22.py``, which it is compared with.
"""

_base_ = '../sgformer/sgformer_small_grocery22.py'

model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(
        _delete_=True,
        type='mmvit_plugins.MGFF',
        in_channels=(64, 128, 256, 512),
        strides=(4, 8, 16, 32),
        grid_size=7,
    ),
    head=dict(type='mmvit_plugins.MGFFHead', drop_rate=0.1),
)
