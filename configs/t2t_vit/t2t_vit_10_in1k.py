"""T2T-ViT-10 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_10_in1k.py 8
Cost:      5.83 M parameters, 1.52 GFLOPs at 224x224 (tools/get_flops.py).
Published: 75.2 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_7_in1k.py'

model = dict(backbone=dict(arch='10'))
