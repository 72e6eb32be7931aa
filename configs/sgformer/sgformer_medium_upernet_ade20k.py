"""SG-Former-medium with UperNet on ADE20K, 512x512: 160,000 iterations of 16 (8 GPUs x 2).

Run:       tools/dist_train.sh configs/sgformer/sgformer_medium_upernet_ade20k.py 8
Cost:      67.86 M parameters, 253.98 GFLOPs at 512x512 (tools/get_flops.py).
Published: 51.2 mIoU, 52.1 multi-scale (the paper, as later papers quote it).
Ours:      not trained yet.
"""

_base_ = './sgformer_small_upernet_ade20k.py'

model = dict(backbone=dict(arch='medium', drop_path_rate=0.2))
