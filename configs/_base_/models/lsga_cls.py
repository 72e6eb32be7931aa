"""LSGA-ViT as a classifier of windows: mean of the tokens, one linear layer.

The numbers are the authors'. A config sets ``num_classes`` in both places. Inputs come from a band
transform, so nothing is normalised here.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=16),
    backbone=dict(
        type='mmvit_plugins.LSGAViT',
        in_channels=36,
        window_size=9,
        embed_dims=120,
        depths=(2,),
        num_heads=(12,),
        attention='slots',
        position='flat',
        out_type='avg_featmap',
        drop_path_rate=0.1,
    ),
    neck=None,
    head=dict(
        type='LinearClsHead',
        num_classes=16,
        in_channels=120,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
        loss=dict(type='CrossEntropyLoss'),
    ),
)
