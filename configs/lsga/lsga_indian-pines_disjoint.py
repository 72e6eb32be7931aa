"""LSGA-ViT on Indian Pines, tested on fields that were not seen (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_disjoint.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      see README.md.

As ``lsga_indian-pines_field-caps.py``, but most fields are not seen in training: the hardest of the
three protocols. A class that is one field gives one end of it.
"""

_base_ = [
    '../_base_/models/lsga_cls.py',
    '../_base_/datasets/hyperspectral_disjoint.py',
    '../_base_/schedules/hyperspectral_adam.py',
    '../_base_/default_hyperspectral.py',
]

default_hooks = dict(checkpoint=dict(save_best='hsi/OA', rule='greater'))
