"""SG-Former-base, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/sgformer_base_retinanet_bccd.py
Cost:      86.52 M parameters, 137.16 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = './sgformer_small_retinanet_bccd.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.4), neck=dict(in_channels=[192, 384, 768]))
