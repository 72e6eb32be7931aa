"""SG-Former as a segmentor: UperNet.

A config sets ``backbone.arch`` and the channels that go with it, and what ``upernet.py`` names.
"""

_base_ = './upernet.py'

model = dict(
    backbone=dict(type='mmvit_plugins.SGFormer', arch='small', drop_path_rate=0.1),
    decode_head=dict(in_channels=[64, 128, 256, 512]),
    auxiliary_head=dict(in_channels=256),
)
