"""AFFormer-small on ImageNet-1K, 224x224: 300 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/afformer/afformer_small_in1k.py 8
Cost:      2.45 M parameters, 0.58 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.
"""

_base_ = './afformer_tiny_in1k.py'

model = dict(backbone=dict(arch='small'))
