"""T2T-ViT as a segmentor: UperNet on its three maps, a small FCN on the last beside it to train.

The maps are those of the two token layers (64 channels, strides 4 and 8) and of the transformer
(stride 16); UperNet takes any number of maps. A config sets ``backbone.arch``, the channels that go
with it, ``num_classes`` of both heads and ``data_preprocessor.size``, the training crop (height,
width) that smaller pictures are padded to.
"""

_base_ = './segmentor.py'

model = dict(
    backbone=dict(type='mmvit_plugins.T2TViT', arch='14', drop_path_rate=0.1),
    decode_head=dict(
        type='UPerHead',
        in_channels=[64, 64, 384],
        in_index=[0, 1, 2],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=384,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=0.4),
    ),
)
