"""Swin-S, RetinaNet on COCO: 12 epochs of batches of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/detection/swin_small_retinanet_1x_coco.py 8
Cost:      59.78 M parameters, 331.59 GFLOPs at 800x1280 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './swin_tiny_retinanet_1x_coco.py'

model = dict(
    backbone=dict(
        arch='small', init_cfg=dict(checkpoint='pretrain/swin_small_patch4_window7_224.pth')
    )
)
