"""Swin-B, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/swin_base_retinanet_bccd.py
Cost:      96.79 M parameters, 130.62 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = './swin_tiny_retinanet_bccd.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3), neck=dict(in_channels=[256, 512, 1024])
)
