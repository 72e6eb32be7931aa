"""LSGA-ViT on Indian Pines, as published: random pixels, last epoch (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      see README.md.

The authors' protocol, for comparison with the literature: 10 % of the pixels at random, components
of the whole scene. 99.6 % of the test pixels lie inside training windows here, so that accuracy
says how well gaps between known pixels are filled, and nothing about pixels elsewhere. The honest
one is that of ``lsga_indian-pines_field-caps.py``.
"""

_base_ = [
    '../_base_/models/lsga_cls.py',
    '../_base_/datasets/hyperspectral_random.py',
    '../_base_/schedules/hyperspectral_adam.py',
    '../_base_/default_hyperspectral.py',
]
