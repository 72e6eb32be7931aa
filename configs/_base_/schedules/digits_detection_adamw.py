"""2 epochs from random weights on the digit scenes, 1,500 iterations of 8: AdamW, cosine."""

_base_ = './detection_scratch_adamw.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=2, val_interval=1)
