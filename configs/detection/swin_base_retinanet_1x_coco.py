"""Swin-B, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_base_retinanet_1x_coco.py 8
Cost:      98.39 M parameters, 469.11 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './swin_tiny_retinanet_1x_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.3,
        init_cfg=dict(checkpoint='pretrain/swin_base_patch4_window7_224.pth'),
    ),
    neck=dict(in_channels=[256, 512, 1024]),
)
