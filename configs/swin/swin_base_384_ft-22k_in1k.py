"""Swin-B from ImageNet-22K to ImageNet-1K, 384x384, window 12: 30 epochs of 1,024 pictures.

Run:       tools/dist_train.sh configs/swin/swin_base_384_ft-22k_in1k.py 8
Cost:      87.90 M parameters, 47.19 GFLOPs at 384x384 (tools/get_flops.py).
Published: 86.4 top-1 (the authors' repository).
Ours:      not trained yet.

The recipe of ``swin_base_ft-22k_in1k.py``, also for the start, at another size. The test squeezes
pictures to 384x384 whole. Files of window 7 load too: their position tables are resized. 128
pictures of this size on a GPU are many: ``with_cp=True`` on the backbone saves memory, and
``--cfg-options train_dataloader.batch_size=32 optim_wrapper.accumulative_counts=4`` is the same
step in four parts.
"""

_base_ = [
    '../_base_/models/swin_cls.py',
    '../_base_/datasets/imagenet_bs128_swin_384.py',
    '../_base_/schedules/imagenet_bs1024_adamw_swin.py',
    '../_base_/default_cls.py',
]

model = dict(
    backbone=dict(arch='base', window_size=12, drop_path_rate=0.2),
    head=dict(in_channels=1024),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
    init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_base_patch4_window12_384_22k.pth'),
)
optim_wrapper = dict(optimizer=dict(lr=2e-5 * 1024 / 512, weight_decay=1e-8))
param_scheduler = [dict(_base_.param_scheduler[0], end=5), dict(_base_.param_scheduler[1], begin=5)]
train_cfg = dict(max_epochs=30)
randomness = dict(seed=0, diff_rank_seed=True)
