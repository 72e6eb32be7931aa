"""SG-Former-base on ImageNet-1K, 224x224: 310 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/sgformer/sgformer_base_in1k.py 8
Cost:      77.95 M parameters, 15.61 GFLOPs at 224x224 (tools/get_flops.py).
Published: 84.7 top-1 (the paper's abstract).
Ours:      not trained yet.
"""

_base_ = './sgformer_small_in1k.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.4), head=dict(in_channels=768))
