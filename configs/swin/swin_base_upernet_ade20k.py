"""Swin-B with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/swin/swin_base_upernet_ade20k.py 8
Cost:      120.06 M parameters, 293.62 GFLOPs at 512x512 (tools/get_flops.py).
Published: 48.13 mIoU, 49.72 multi-scale (the authors' repository for segmentation).
Ours:      not trained yet.

To start from ImageNet-22K add ``--cfg-options model.backbone.init_cfg.checkpoint=FILE`` with
``swin_base_patch4_window7_224_22k.pth`` for FILE.
"""

_base_ = './swin_tiny_upernet_ade20k.py'

model = dict(
    backbone=dict(
        arch='base', init_cfg=dict(checkpoint='pretrain/swin_base_patch4_window7_224.pth')
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
