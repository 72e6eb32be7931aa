"""36 epochs of COCO: ``schedule_1x_adamw.py``, three times as long."""

_base_ = './schedule_1x_adamw.py'

param_scheduler = [
    _base_.param_scheduler[0],
    dict(type='MultiStepLR', begin=0, milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(max_epochs=36)
