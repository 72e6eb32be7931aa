"""SG-Former-base with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/sgformer/sgformer_base_upernet_ade20k.py 8
Cost:      108.68 M parameters, 299.01 GFLOPs at 512x512 (tools/get_flops.py).
Published: 52.0 mIoU (the paper, as later papers quote it);
           52.7 multi-scale (the paper's abstract, which does not say multi-scale).
Ours:      not trained yet.
"""

_base_ = './sgformer_small_upernet_ade20k.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.4),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
