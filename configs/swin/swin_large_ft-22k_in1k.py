"""Swin-L from ImageNet-22K to ImageNet-1K, 224x224: 30 epochs of 1,024 pictures (8 GPUs x 128).

Run:       tools/dist_train.sh configs/swin/swin_large_ft-22k_in1k.py 8
Cost:      196.53 M parameters, 34.53 GFLOPs at 224x224 (tools/get_flops.py).
Published: 86.3 top-1 (the authors' repository).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_ft-22k_in1k.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.2),
    head=dict(in_channels=1536),
    init_cfg=dict(checkpoint='pretrain/swin_large_patch4_window7_224_22k.pth'),
)
