"""AFFormer-small on Cityscapes, 1024x1024 crops: 160,000 iterations of 8 pictures (8 GPUs x 1).

Run:       tools/dist_train.sh configs/afformer/afformer_small_cityscapes.py 8
Cost:      2.29 M parameters, 26.20 GFLOPs at 1024x2048 (tools/get_flops.py).
Published: 77.6 mIoU (as recalled from the paper; not re-read).
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_cityscapes.py'

model = dict(backbone=dict(arch='small'))
