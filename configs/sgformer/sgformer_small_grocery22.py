"""SG-Former-S on 22 kinds of fruit and vegetable, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/sgformer/sgformer_small_grocery22.py
Cost:      22.04 M parameters, 4.82 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

The other sides of the comparison are ``mmpretrain_swin_tiny_grocery22.py`` and
``resnet50_grocery22.py``: same data, schedule and batch. A shorter run: ``--cfg-options
train_cfg.max_epochs=60 param_scheduler.0.end=5``; another seed: ``--cfg-options
randomness.seed=1``.
"""

_base_ = [
    '../_base_/models/sgformer_cls.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=22), head=dict(num_classes=22))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
