"""SegFormer-B2 with 150 classes as mmsegmentation ships it, for its backbone, of PVTv2-B2's size.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/segformer_mit-b2_ade20k.py CONFIG --backbone-only
"""

_base_ = './segformer_mit-b0_ade20k.py'

model = dict(
    backbone=dict(embed_dims=64, num_layers=[3, 4, 6, 3]),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
)
