"""AFFormer-small on COCO-Stuff 10k, 512x512: 80,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_small_coco-stuff10k.py 8
Cost:      2.33 M parameters, 3.59 GFLOPs at 512x512 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_coco-stuff10k.py'

model = dict(backbone=dict(arch='small'))
