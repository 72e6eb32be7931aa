"""MGFF on Swin-B looking twice, CUB-200-2011, 512x512 to 384x384 (1 GPU).

Run:       python tools/train.py configs/mgff/two-stage_mgff_swin-base_cub-384.py
Cost:      199.26 M parameters, 158.61 GFLOPs at 512x512 (tools/get_flops.py).
Published: 92.60 top-1, as reported of the paper.
Ours:      not trained, the pictures could not be had.

Training is that of ``mgff_swin-base_cub-384.py``, which looks once; the localiser, whose file
``../_base_/models/two-stage_mgff_swin-base_384.py`` names, is not trained and is saved along. So a
checkpoint of that config lacks the localiser here: README.md says how to join the two.
Pictures come whole, at 512x512: the first look is at all of it in 384x384, the second at a box of
it, cut out of the 512x512. Threshold, margin and the like are ours.
"""

_base_ = [
    '../_base_/models/two-stage_mgff_swin-base_384.py',
    '../_base_/datasets/cub_384.py',
    '../_base_/schedules/mgff_sgd.py',
    '../_base_/default_cls.py',
]

test_pipeline = [*_base_.test_pipeline[:2], _base_.test_pipeline[-1]]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
model = dict(data_preprocessor=dict(num_classes=200), head=dict(num_classes=200))
