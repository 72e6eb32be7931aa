"""Swin-S, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/swin_small_retinanet_bccd.py
Cost:      58.18 M parameters, 89.34 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = './swin_tiny_retinanet_bccd.py'

model = dict(backbone=dict(arch='small'))
