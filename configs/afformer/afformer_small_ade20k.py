"""AFFormer-small on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_small_ade20k.py 8
Cost:      2.32 M parameters, 3.55 GFLOPs at 512x512 (tools/get_flops.py).
Published: 40.2 mIoU (as recalled from the paper; not re-read).
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_ade20k.py'

model = dict(backbone=dict(arch='small'))
