"""MGFF on Swin-B looking twice, Oxford-IIIT Pets, 512x512 to 384x384 (1 GPU).

Run:       python tools/train.py configs/mgff/two-stage_mgff_swin-base_pets-384.py
Cost:      199.10 M parameters, 158.61 GFLOPs at 512x512 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      not trained, the pictures could not be had.

As ``two-stage_mgff_swin-base_cub-384.py``.
"""

_base_ = [
    '../_base_/models/two-stage_mgff_swin-base_384.py',
    '../_base_/datasets/pets_384.py',
    '../_base_/schedules/mgff_sgd.py',
    '../_base_/default_cls.py',
]

test_pipeline = [*_base_.test_pipeline[:2], _base_.test_pipeline[-1]]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(num_classes=37), head=dict(num_classes=37))
