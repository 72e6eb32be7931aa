"""AFFormer-base on COCO-Stuff 10k, 512x512: 80,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_base_coco-stuff10k.py 8
Cost:      2.94 M parameters, 4.62 GFLOPs at 512x512 (tools/get_flops.py).
Published: 35.1 mIoU (as recalled from the paper; not re-read);
           33.22 in an independent retraining.
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_coco-stuff10k.py'

model = dict(backbone=dict(arch='base'))
