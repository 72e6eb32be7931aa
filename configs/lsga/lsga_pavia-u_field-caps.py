"""LSGA-ViT on Pavia University, one end of every field is trained on (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_pavia-u_field-caps.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      not trained, the scene could not be had.
"""

_base_ = './lsga_indian-pines_field-caps.py'

dataset = dict(scene='pavia-u')
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
model = dict(data_preprocessor=dict(num_classes=9), head=dict(num_classes=9))
