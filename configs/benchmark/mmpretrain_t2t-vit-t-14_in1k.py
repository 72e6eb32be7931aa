"""T2T-ViT_t-14 with 1000 classes as mmpretrain ships it.

Its attention divides by the scale instead of multiplying, which is wrong but costs the same.
Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/mmpretrain_t2t-vit-t-14_in1k.py CONFIG
"""

_base_ = '../_base_/models/classifier.py'

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(
    backbone=dict(
        type='T2T_ViT',
        embed_dims=384,
        t2t_cfg=dict(token_dims=64, use_performer=False),
        num_layers=14,
        layer_cfgs=dict(num_heads=6, feedforward_channels=3 * 384),
        drop_path_rate=0.1,
    ),
    neck=None,
    head=dict(type='VisionTransformerClsHead', num_classes=1000, in_channels=384),
)
