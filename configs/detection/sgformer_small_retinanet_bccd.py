"""SG-Former-small, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/sgformer_small_retinanet_bccd.py
Cost:      30.67 M parameters, 67.47 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = [
    '../_base_/models/sgformer_retinanet.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detection_scratch_adamw.py',
    '../_base_/default_det.py',
]

model = dict(bbox_head=dict(num_classes=3))
