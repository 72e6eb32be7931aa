"""Swin-T, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_tiny_retinanet_1x_coco.py 8
Cost:      38.46 M parameters, 244.35 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = [
    '../_base_/models/swin_retinanet.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_1x_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_tiny_patch4_window7_224.pth')
    )
)
