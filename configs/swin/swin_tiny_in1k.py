"""Swin-T on ImageNet-1K, 224x224: 300 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/swin/swin_tiny_in1k.py 8
Cost:      28.29 M parameters, 4.51 GFLOPs at 224x224 (tools/get_flops.py).
Published: 81.2 top-1 (the authors' repository).
Ours:      not trained yet.

The recipe is that of the authors' code as it stands: the cosine follows the warm-up, and both
change the rate with each iteration. Earlier versions, from which the published files may be, let
the cosine run from epoch 0, under the warm-up. On N GPUs set ``--cfg-options
train_dataloader.batch_size=`` to 1024 / N, or pass ``--auto-scale-lr``.
"""

_base_ = [
    '../_base_/models/swin_cls.py',
    '../_base_/datasets/imagenet_bs128_deit_224.py',
    '../_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_cls.py',
]

model = dict(
    backbone=dict(drop_path_rate=0.2),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
randomness = dict(seed=0, diff_rank_seed=True)
