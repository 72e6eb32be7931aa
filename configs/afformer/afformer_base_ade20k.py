"""AFFormer-base on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_base_ade20k.py 8
Cost:      2.94 M parameters, 4.57 GFLOPs at 512x512 (tools/get_flops.py).
Published: 41.8 mIoU (the paper's abstract);
           39.94 in an independent retraining.
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_ade20k.py'

model = dict(backbone=dict(arch='base'))
