"""T2T-ViT-12 on ImageNet-1K, 224x224: 310 epochs of 512 pictures a step (8 GPUs x 64).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_12_in1k.py 8
Cost:      6.89 M parameters, 1.77 GFLOPs at 224x224 (tools/get_flops.py).
Published: 76.5 top-1 (the authors' README).
Ours:      not trained yet.
"""

_base_ = './t2t_vit_7_in1k.py'

model = dict(backbone=dict(arch='12'))
