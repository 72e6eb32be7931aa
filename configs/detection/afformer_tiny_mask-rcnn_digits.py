"""AFFormer-tiny, narrow Mask R-CNN on digit scenes, 128x128, from scratch: 2 epochs.

Run:       python tools/train.py configs/detection/afformer_tiny_mask-rcnn_digits.py
Cost:      4.49 M parameters, 2.25 GFLOPs at 128x128 (tools/get_flops.py).
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
    backbone=dict(type='mmvit_plugins.AFFormer', arch='tiny'),
    neck=[
        dict(
            type='mmvit_plugins.ToPyramid',
            in_channels=[64, 160, 216, 216],
            in_strides=[4, 8, 8, 8],
            out_strides=[4, 8, 16, 32],
        ),
        {**_base_.model.neck, 'in_channels': [64, 160, 216, 216]},
    ],
    roi_head=dict(bbox_head=dict(num_classes=10), mask_head=dict(num_classes=10)),
)
