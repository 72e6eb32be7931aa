"""SG-Former of half its width, narrow Mask R-CNN on digit scenes, 128x128, from scratch: 2 epochs.

Run:       python tools/train.py configs/detection/sgformer_narrow_mask-rcnn_digits.py
Cost:      4.12 M parameters, 2.24 GFLOPs at 128x128 (tools/get_flops.py).
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
    backbone=dict(
        type='mmvit_plugins.SGFormer',
        arch=dict(
            embed_dims=(32, 64, 128, 256), depths=(2, 2, 6, 1), num_heads=(2, 4, 4, 8), mlp_ratio=4
        ),
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
    roi_head=dict(bbox_head=dict(num_classes=10), mask_head=dict(num_classes=10)),
)
