"""AFFormer-tiny on digit scenes (the embedded data), 128x128: 1,000 iterations of 8, from scratch.

Run:       make demo
Cost:      2.09 M parameters, 0.19 GFLOPs at 128x128 (tools/get_flops.py); minutes on two cores.
Published: nothing.
Ours:      see README.md.
"""

_base_ = [
    '../_base_/models/afformer.py',
    '../_base_/datasets/digits.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=11))
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=50, by_epoch=False),
]
train_cfg = dict(max_iters=1000, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=8)
