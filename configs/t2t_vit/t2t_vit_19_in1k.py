"""T2T-ViT-19 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_19_in1k.py 8
Cost:      39.09 M parameters, 8.50 GFLOPs at 224x224 (tools/get_flops.py).
Published: 81.9 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_14_in1k.py'

model = dict(backbone=dict(arch='19'), head=dict(in_channels=448))
optim_wrapper = dict(optimizer=dict(weight_decay=0.065))
