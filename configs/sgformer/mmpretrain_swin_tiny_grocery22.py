"""mmpretrain's Swin-T on grocery22 under the recipe of SG-Former-S there: only the model differs.

Run:       python tools/train.py configs/sgformer/mmpretrain_swin_tiny_grocery22.py
Cost:      27.54 M parameters, 4.51 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.
"""

_base_ = [
    '../_base_/models/mmpretrain_swin_cls.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=22), head=dict(num_classes=22))
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
