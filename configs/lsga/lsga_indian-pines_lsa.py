"""LSGA-ViT on Indian Pines, light self-attention (LSA).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_lsa.py
Cost:      0.45 M parameters, 39.73 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      see README.md.

One of the four of the paper's ablation, under the protocol of ``lsga_indian-pines.py``: the tokens
are their own keys and values, no position is added.
"""

_base_ = './lsga_indian-pines.py'

model = dict(backbone=dict(attention='paper', position='none'))
