"""T2T-ViT-7 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_7_in1k.py 8
Cost:      4.26 M parameters, 1.15 GFLOPs at 224x224 (tools/get_flops.py).
Published: 71.7 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_14_in1k.py'

model = dict(backbone=dict(arch='7'), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.03))
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1e-3),  # from 1e-6
    _base_.param_scheduler[1],
]
