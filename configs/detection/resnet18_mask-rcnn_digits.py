"""ResNet-18 of mmdetection, narrow Mask R-CNN on digit scenes, 128x128, from scratch: 2 epochs.

Run:       python tools/train.py configs/detection/resnet18_mask-rcnn_digits.py
Cost:      12.40 M parameters, 2.61 GFLOPs at 128x128 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

``python tools/dataset_converters/digits.py --out data/digits`` makes the data.
"""

_base_ = [
    '../_base_/models/mask-rcnn_narrow.py',
    '../_base_/datasets/digits_instance.py',
    '../_base_/schedules/digits_detection_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(type='ResNet', depth=18, norm_eval=False),
    neck=dict(in_channels=[64, 128, 256, 512]),
    roi_head=dict(bbox_head=dict(num_classes=10), mask_head=dict(num_classes=10)),
)
