"""LSGA-ViT on Indian Pines, self-attention with the Gaussian (SGA).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_sga.py
Cost:      0.51 M parameters, 44.39 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      see README.md.

One of the four of the paper's ablation, under the protocol of ``lsga_indian-pines.py``: keys and
values have weights of their own, the authors' Gaussian is added.
"""

_base_ = './lsga_indian-pines.py'

model = dict(backbone=dict(attention='self', position='flat'))
