"""LSGA-ViT on Salinas, as published: random pixels, last epoch (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_salinas.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      not trained, the scene could not be had.

The authors' protocol, for comparison with the literature: 99.8 % of the test pixels lie inside
training windows; see ``lsga_indian-pines.py`` for what that means.
"""

_base_ = './lsga_indian-pines.py'

dataset = dict(scene='salinas')
train_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
