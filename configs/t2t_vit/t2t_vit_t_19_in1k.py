"""T2T-ViT_t-19 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_t_19_in1k.py 8
Cost:      39.08 M parameters, 9.80 GFLOPs at 224x224 (tools/get_flops.py).
Published: 82.4 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_14_in1k.py'

model = dict(backbone=dict(arch='t_19'), head=dict(in_channels=448))
optim_wrapper = dict(optimizer=dict(weight_decay=0.065))
