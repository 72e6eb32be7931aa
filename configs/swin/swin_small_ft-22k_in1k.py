"""Swin-S from ImageNet-22K to ImageNet-1K, 224x224: 30 epochs of 1,024 pictures (8 GPUs x 128).

Run:       tools/dist_train.sh configs/swin/swin_small_ft-22k_in1k.py 8
Cost:      49.61 M parameters, 8.77 GFLOPs at 224x224 (tools/get_flops.py).
Published: 83.2 top-1 (the authors' repository).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_ft-22k_in1k.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.2),
    init_cfg=dict(checkpoint='pretrain/swin_small_patch4_window7_224_22k.pth'),
)
