"""SG-Former-medium on ImageNet-1K, 224x224: 310 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/sgformer/sgformer_medium_in1k.py 8
Cost:      38.69 M parameters, 7.47 GFLOPs at 224x224 (tools/get_flops.py).
Published: 84.1 top-1 (the paper, as later papers quote it).
Ours:      not trained yet.
"""

_base_ = './sgformer_small_in1k.py'

model = dict(backbone=dict(arch='medium', drop_path_rate=0.2))
