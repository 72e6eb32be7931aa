"""T2T-ViT in Mask R-CNN.

The transformer's one map, of stride 16, becomes a pyramid first; the maps of the token layers are
left out, as they lie before the transformer. A config sets ``backbone.arch`` and the channels of
both necks.
"""

_base_ = './mask-rcnn.py'

model = dict(
    backbone=dict(type='mmvit_plugins.T2TViT', arch='14', out_indices=(2,), drop_path_rate=0.1),
    neck=[
        dict(
            type='mmvit_plugins.ToPyramid',
            in_channels=[384],
            in_strides=[16],
            out_strides=[4, 8, 16, 32],
        ),
        {**_base_.model.neck, 'in_channels': [384, 384, 384, 384]},
    ],
)
