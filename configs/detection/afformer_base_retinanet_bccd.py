"""AFFormer-base, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/afformer_base_retinanet_bccd.py
Cost:      11.98 M parameters, 41.05 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.
"""

_base_ = [
    '../_base_/models/afformer_retinanet.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detection_scratch_adamw.py',
    '../_base_/default_det.py',
]

model = dict(bbox_head=dict(num_classes=3))
