"""Swin-S, Mask R-CNN on COCO: 36 epochs of batches of 16, many sizes (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_small_mask-rcnn_3x-ms_coco.py 8
Cost:      69.11 M parameters, 350.56 GFLOPs at 800x1280 (tools/get_flops.py).
Published: 48.2 box AP, 43.2 mask AP (mmdetection, with its own Swin, mixed precision).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_mask-rcnn_3x-ms_coco.py'

model = dict(
    backbone=dict(
        arch='small', init_cfg=dict(checkpoint='pretrain/swin_small_patch4_window7_224.pth')
    )
)
