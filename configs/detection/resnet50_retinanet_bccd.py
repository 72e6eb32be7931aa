"""ResNet-50, RetinaNet on BCCD, 640x480, from scratch: 100 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/detection/resnet50_retinanet_bccd.py
Cost:      36.37 M parameters, 61.50 GFLOPs at 480x640 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md; a smaller run.

mmdetection's own network, which ours are compared with: same data, detector, schedule and batch. No
layer is frozen and batch norms train, since the weights start at random.
"""

_base_ = [
    '../_base_/models/retinanet.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/detection_scratch_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=50, out_indices=(1, 2, 3), norm_eval=False),
    neck=dict(in_channels=[512, 1024, 2048]),
    bbox_head=dict(num_classes=3),
)
