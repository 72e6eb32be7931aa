"""Swin-S on ImageNet-1K, 224x224: 300 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/swin/swin_small_in1k.py 8
Cost:      49.61 M parameters, 8.77 GFLOPs at 224x224 (tools/get_flops.py).
Published: 83.2 top-1 (the authors' repository).
Ours:      not trained yet.
"""

_base_ = './swin_tiny_in1k.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
