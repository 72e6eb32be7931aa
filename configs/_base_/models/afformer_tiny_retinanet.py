"""AFFormer-tiny in RetinaNet: other channels than AFFormer-base."""

_base_ = './afformer_retinanet.py'

model = dict(
    backbone=dict(arch='tiny'),
    neck=[{**neck, 'in_channels': [160, 216, 216]} for neck in _base_.model.neck],
)
