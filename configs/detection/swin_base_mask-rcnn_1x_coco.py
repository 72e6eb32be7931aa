"""Swin-B, Mask R-CNN on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_base_mask-rcnn_1x_coco.py 8
Cost:      107.14 M parameters, 488.47 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 46.9 box AP, 42.3 mask AP (as later papers quote it).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_mask-rcnn_1x_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.3,
        init_cfg=dict(checkpoint='pretrain/swin_base_patch4_window7_224.pth'),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
