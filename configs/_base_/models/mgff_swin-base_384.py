"""Swin-B/384 with MGFF, the paper's network: 576 nodes of 1,024 channels, 18 super nodes.

It starts from the authors' file of ImageNet-22K, put where ``init_cfg`` says; its head does not fit
and starts anew. A config sets ``num_classes``.
"""

_base_ = './mgff_swin.py'

model = dict(
    backbone=dict(arch='base', window_size=12),
    neck=dict(in_channels=(256, 512, 1024, 1024), grid_size=12),
    head=dict(in_channels=1024),
    init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_base_patch4_window12_384_22k.pth'),
)
