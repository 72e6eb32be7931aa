"""Swin-S with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/swin/swin_small_upernet_ade20k.py 8
Cost:      80.34 M parameters, 257.77 GFLOPs at 512x512 (tools/get_flops.py).
Published: 47.64 mIoU, 49.47 multi-scale (the authors' repository for segmentation).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_upernet_ade20k.py'

model = dict(
    backbone=dict(
        arch='small', init_cfg=dict(checkpoint='pretrain/swin_small_patch4_window7_224.pth')
    )
)
