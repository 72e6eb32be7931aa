"""T2T-ViT as a segmentor: UperNet on its three maps, which takes any number of maps.

The maps are those of the two token layers (64 channels, strides 4 and 8) and of the transformer
(stride 16). A config sets ``backbone.arch`` and the channels that go with it, and what
``upernet.py`` names.
"""

_base_ = './upernet.py'

model = dict(
    backbone=dict(type='mmvit_plugins.T2TViT', arch='14', drop_path_rate=0.1),
    decode_head=dict(in_index=[0, 1, 2], in_channels=[64, 64, 384]),
    auxiliary_head=dict(in_channels=384),
)
