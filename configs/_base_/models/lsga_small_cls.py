"""A small LSGA-ViT as a classifier of windows: one block of 48 channels, the paper's attention.

For splits without overlap, where the full size only learns its training windows by heart. The
Gaussian is round the labelled pixel. A config sets ``num_classes`` in both places.
"""

_base_ = './lsga_cls.py'

model = dict(
    backbone=dict(
        embed_dims=48,
        depths=(1,),
        num_heads=(4,),
        attention='paper',
        position='spatial',
        drop_rate=0.1,
    ),
    head=dict(in_channels=48),
)
