"""ImageNet-1K of ``imagenet_bs128_deit_224.py`` at 256x256. Test: short edge 292, centre 256."""

_base_ = './imagenet_bs128_deit_224.py'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(_base_.train_pipeline[1], scale=256),
    *_base_.train_pipeline[2:],
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=292),  # 256 by 224 / 256
    dict(_base_.test_pipeline[2], crop_size=256),
    _base_.test_pipeline[3],
]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
