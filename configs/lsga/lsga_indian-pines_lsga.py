"""LSGA-ViT on Indian Pines, the attention of the paper (LSGA).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_lsga.py
Cost:      0.45 M parameters, 39.73 MFLOPs at 9x9 (tools/get_flops.py).
Published: no number; the ablation is said to cost 0.02 points of OA.
Ours:      see README.md.

One of the four of the paper's ablation, under the protocol of ``lsga_indian-pines.py``, from which
it differs in the step over slots that the authors' code has and the paper has not.
"""

_base_ = './lsga_indian-pines.py'

model = dict(backbone=dict(attention='paper', position='flat'))
