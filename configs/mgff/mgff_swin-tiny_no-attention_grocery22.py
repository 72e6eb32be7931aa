"""MGFF on Swin-T, grocery22: without self-attention.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_no-attention_grocery22.py
Cost:      32.60 M parameters, 4.86 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(neck=dict(attention=False))
