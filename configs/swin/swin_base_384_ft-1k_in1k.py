"""Swin-B from 224x224 to 384x384 on ImageNet-1K, window 12: 30 epochs of 1,024 pictures.

Run:       tools/dist_train.sh configs/swin/swin_base_384_ft-1k_in1k.py 8
Cost:      87.90 M parameters, 47.19 GFLOPs at 384x384 (tools/get_flops.py).
Published: 84.5 top-1 (the authors' repository).
Ours:      not trained yet.

The start is a classifier of ``swin_base_in1k.py``, the authors' or ours, head included; its
position tables are resized from window 7.
"""

_base_ = './swin_base_384_ft-22k_in1k.py'

model = dict(
    backbone=dict(drop_path_rate=0.5),
    init_cfg=dict(checkpoint='pretrain/swin_base_patch4_window7_224.pth'),
)
