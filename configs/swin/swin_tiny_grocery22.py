"""Swin-T on 22 kinds of fruit and vegetable, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/swin/swin_tiny_grocery22.py
Cost:      27.54 M parameters, 4.51 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see ../sgformer/README.md.

One recipe with ``configs/sgformer/sgformer_small_grocery22.py`` and what is compared with it there:
same data, schedule and batch.
"""

_base_ = [
    '../_base_/models/swin_cls.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=22), head=dict(num_classes=22))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
