"""Swin-L on ImageNet-22K, 224x224: 90 epochs of 4,096 pictures a step (32 GPUs x 128).

Run:       NNODES=4 tools/dist_train.sh configs/swin/swin_large_in22k.py 8 (on each machine)
Cost:      228.57 M parameters, 34.56 GFLOPs at 224x224 (tools/get_flops.py).
Published: no accuracy on ImageNet-22K.
Ours:      not trained yet.
"""

_base_ = './swin_base_in22k.py'

model = dict(backbone=dict(arch='large'), head=dict(in_channels=1536))
