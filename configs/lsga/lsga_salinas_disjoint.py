"""LSGA-ViT on Salinas, tested on fields that were not seen (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_salinas_disjoint.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      not trained, the scene could not be had.
"""

_base_ = './lsga_indian-pines_disjoint.py'

dataset = dict(scene='salinas')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
