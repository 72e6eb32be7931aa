"""Swin-T/C24 (24 channels a head, window 8) on ImageNet-1K, 256x256: 300 epochs of 1,024 pictures.

Run:       tools/dist_train.sh configs/swin/swin_tiny_c24_in1k.py 8
Cost:      28.31 M parameters, 5.95 GFLOPs at 256x256 (tools/get_flops.py).
Published: 81.6 top-1 (the authors' repository).
Ours:      not trained yet.

The recipe of ``swin_tiny_in1k.py`` at another size.
"""

_base_ = [
    '../_base_/models/swin_cls.py',
    '../_base_/datasets/imagenet_bs128_swin_256.py',
    '../_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_cls.py',
]

model = dict(
    backbone=dict(arch='tiny_c24', drop_path_rate=0.2),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
randomness = dict(seed=0, diff_rank_seed=True)
