"""Swin-L from ImageNet-22K to ImageNet-1K, 384x384, window 12: 30 epochs of 1,024 pictures.

Run:       tools/dist_train.sh configs/swin/swin_large_384_ft-22k_in1k.py 8
Cost:      196.74 M parameters, 104.08 GFLOPs at 384x384 (tools/get_flops.py).
Published: 87.3 top-1 (the authors' repository).
Ours:      not trained yet.
"""

_base_ = './swin_base_384_ft-22k_in1k.py'

model = dict(
    backbone=dict(arch='large'),
    head=dict(in_channels=1536),
    init_cfg=dict(checkpoint='pretrain/swin_large_patch4_window12_384_22k.pth'),
)
