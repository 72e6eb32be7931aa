"""LSGA-ViT made to generalise: Indian Pines, tested on fields never seen (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_disjoint_robust.py
Cost:      0.05 M parameters, 1.35 MFLOPs at 5x5 (tools/get_flops.py).
Published: nothing, the recipe is ours.
Ours:      see README.md.

The split of ``lsga_indian-pines_disjoint.py``, the recipe of
``lsga_indian-pines_field-caps_robust.py``.
"""

_base_ = './lsga_indian-pines_field-caps_robust.py'

dataset = dict(split_cfg=dict(mode='disjoint'))
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
