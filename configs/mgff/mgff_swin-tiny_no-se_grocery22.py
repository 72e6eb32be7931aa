"""MGFF on Swin-T, grocery22: without squeeze and excitation.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_no-se_grocery22.py
Cost:      41.76 M parameters, 5.34 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(neck=dict(se_ratio=None))
