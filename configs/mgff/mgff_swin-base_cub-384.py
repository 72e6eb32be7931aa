"""MGFF on Swin-B, CUB-200-2011, 384x384: 50 epochs of batches of 8 (1 GPU).

Run:       python tools/train.py configs/mgff/mgff_swin-base_cub-384.py
Cost:      113.17 M parameters, 51.79 GFLOPs at 384x384 (tools/get_flops.py).
Published: nothing that could be obtained, one look alone is not reported.
Ours:      not trained, the pictures could not be had.

The start is the authors' Swin-B of ImageNet-22K, put where ``model.init_cfg`` says
(``--cfg-options model.init_cfg.checkpoint=FILE`` names another); the neck starts at random. What of
the recipe is published and what ours is said in ``../_base_/schedules/mgff_sgd.py``. Where a run
diverges take the schedule of ``mgff_swin-base_low-momentum_cub-384.py``.
"""

_base_ = [
    '../_base_/models/mgff_swin-base_384.py',
    '../_base_/datasets/cub_384.py',
    '../_base_/schedules/mgff_sgd.py',
    '../_base_/default_cls.py',
]

model = dict(data_preprocessor=dict(num_classes=200), head=dict(num_classes=200))
