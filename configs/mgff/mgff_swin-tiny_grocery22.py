"""MGFF on Swin-T, 22 kinds of fruit and vegetable, 224x224, from random weights (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_grocery22.py
Cost:      42.06 M parameters, 5.34 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

The recipe of ``../swin/swin_tiny_grocery22.py``, which it is compared with: the neck and the
dropout
before the classifier are all that differs. The configs named ``mgff_swin-tiny_..._grocery22.py``
take parts of the neck away or exchange them.
"""

_base_ = [
    '../_base_/models/mgff_swin.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=22), head=dict(num_classes=22))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
