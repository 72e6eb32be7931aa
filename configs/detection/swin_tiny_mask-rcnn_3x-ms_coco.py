"""Swin-T, Mask R-CNN on COCO: 36 epochs of batches of 16, many sizes (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_tiny_mask-rcnn_3x-ms_coco.py 8
Cost:      47.79 M parameters, 263.32 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 46.0 box AP, 41.6 mask AP (mmdetection, with its own Swin).
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/swin_mask-rcnn.py',
    '../_base_/datasets/coco_instance_ms.py',
    '../_base_/schedules/schedule_3x_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_tiny_patch4_window7_224.pth')
    )
)
