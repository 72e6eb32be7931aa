"""DeiT-Ti on grocery22, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/mgff/vit-tiny_grocery22.py
Cost:      5.53 M parameters, 1.26 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

A localiser for ``two-stage_mgff_swin-tiny_grocery22.py``, trained on the same pictures under the
recipe of the classifiers.
"""

_base_ = [
    '../_base_/models/vit_cls.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=22), head=dict(num_classes=22))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
