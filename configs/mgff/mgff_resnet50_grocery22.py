"""MGFF on ResNet-50, grocery22, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_resnet50_grocery22.py
Cost:      43.90 M parameters, 5.17 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

The recipe of ``../sgformer/resnet50_grocery22.py``, which it is compared with. Nodes have 512
channels: with the 2,048 of the last map the neck would be several times as large as the network.
"""

_base_ = '../sgformer/resnet50_grocery22.py'

model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(
        _delete_=True,
        type='mmvit_plugins.MGFF',
        in_channels=(256, 512, 1024, 2048),
        strides=(4, 8, 16, 32),
        grid_size=7,
        embed_dims=512,
    ),
    head=dict(type='mmvit_plugins.MGFFHead', in_channels=512, drop_rate=0.1),
)
