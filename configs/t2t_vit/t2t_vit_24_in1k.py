"""T2T-ViT-24 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_24_in1k.py 8
Cost:      64.00 M parameters, 13.69 GFLOPs at 224x224 (tools/get_flops.py).
Published: 82.3 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_14_in1k.py'

model = dict(backbone=dict(arch='24'), head=dict(in_channels=512))
optim_wrapper = dict(optimizer=dict(weight_decay=0.065))
