"""SG-Former-medium, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/sgformer_medium_retinanet_bccd.py
Cost:      46.81 M parameters, 85.35 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = './sgformer_small_retinanet_bccd.py'

model = dict(backbone=dict(arch='medium', drop_path_rate=0.2))
