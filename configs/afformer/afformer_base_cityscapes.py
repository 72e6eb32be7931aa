"""AFFormer-base on Cityscapes, 1024x1024 crops: 160,000 iterations of 8 pictures (8 GPUs x 1).

Run:       tools/dist_train.sh configs/afformer/afformer_base_cityscapes.py 8
Cost:      2.90 M parameters, 34.38 GFLOPs at 1024x2048 (tools/get_flops.py).
Published: 78.7 mIoU (the paper's abstract).
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_cityscapes.py'

model = dict(backbone=dict(arch='base'))
