"""Swin Transformer as a segmentor: UperNet.

A config sets ``backbone.arch`` and the channels that go with it, and what ``upernet.py`` names.
"""

_base_ = './upernet.py'

model = dict(
    backbone=dict(type='mmvit_plugins.SwinTransformer', arch='tiny', drop_path_rate=0.3),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
