"""T2T-ViT-7 on 22 kinds of fruit and vegetable, 224x224, from random weights: 300 epochs (1 GPU).

Run:       python tools/train.py configs/t2t_vit/t2t_vit_7_grocery22.py
Cost:      4.00 M parameters, 1.15 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see configs/sgformer/README.md.

Data, schedule and batch are those of ``sgformer_small_grocery22.py``, from which this differs in
the model only. A shorter run: ``--cfg-options train_cfg.max_epochs=60 param_scheduler.0.end=5``;
another seed: ``--cfg-options randomness.seed=1``.
"""

_base_ = [
    '../_base_/models/t2t_vit_cls.py',
    '../_base_/datasets/grocery22.py',
    '../_base_/schedules/grocery22_adamw.py',
    '../_base_/default_cls.py',
]

model = dict(
    data_preprocessor=dict(num_classes=22),
    backbone=dict(arch='7'),
    head=dict(num_classes=22, in_channels=256),
)
default_hooks = dict(logger=dict(interval=13), checkpoint=dict(interval=10, max_keep_ckpts=2))
