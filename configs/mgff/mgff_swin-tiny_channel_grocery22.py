"""MGFF on Swin-T, grocery22: maps joined by channels.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_channel_grocery22.py
Cost:      50.93 M parameters, 5.66 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``. The other reading of the text: 49 nodes of
3,072 channels in place of 196 of 768.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(neck=dict(fuse='channel'), head=dict(in_channels=3072))
