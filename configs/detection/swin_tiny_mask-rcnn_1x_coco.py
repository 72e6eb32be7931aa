"""Swin-T, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_tiny_mask-rcnn_1x_coco.py 8
Cost:      47.79 M parameters, 263.32 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 42.7 box AP, 39.3 mask AP (as later papers quote it).
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/swin_mask-rcnn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_tiny_patch4_window7_224.pth')
    )
)
