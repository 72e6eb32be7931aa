"""Swin-B on ImageNet-22K, 224x224: 90 epochs of 4,096 pictures a step (32 GPUs x 128).

Run:       NNODES=4 tools/dist_train.sh configs/swin/swin_base_in22k.py 8 (on each machine)
Cost:      109.13 M parameters, 15.49 GFLOPs at 224x224 (tools/get_flops.py).
Published: no accuracy on ImageNet-22K.
Ours:      not trained yet.

What it is for: ``swin_base_ft-22k_in1k.py``. The data's layout stands in its ``_base_`` file. On
other numbers of GPUs see ``swin_tiny_in1k.py``; here the product is 4096.
"""

_base_ = [
    '../_base_/models/swin_cls.py',
    '../_base_/datasets/imagenet22k_bs128_swin_224.py',
    '../_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_cls.py',
]

model = dict(
    data_preprocessor=dict(num_classes=21841),
    backbone=dict(arch='base', drop_path_rate=0.2),
    head=dict(num_classes=21841, in_channels=1024),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
optim_wrapper = dict(optimizer=dict(lr=1.25e-4 * 4096 / 512))
param_scheduler = [dict(_base_.param_scheduler[0], end=5), dict(_base_.param_scheduler[1], begin=5)]
train_cfg = dict(max_epochs=90)
auto_scale_lr = dict(base_batch_size=4096)
randomness = dict(seed=0, diff_rank_seed=True)
