"""T2T-ViT's schedule: AdamW, 10 epochs of warm-up from 1e-6, cosine over 300, 10 epochs at 1e-5.

As in the authors' code the rate changes once an epoch and the cosine counts from epoch 0. Here the
warm-up runs on top of it and is up to 0.22 % lower for that; the rest is equal. The rate is for 512
pictures a step; a config that changes it sets ``param_scheduler.0.start_factor`` to 1e-6 / rate. No
decay on the class token, norms, biases and other vectors. The position table and the features of
the performer are constant, so that none is asked for.
"""

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(flat_decay_mult=0.0, custom_keys=dict(cls_token=dict(decay_mult=0.0))),
)
# mmengine excludes ``end``: ramps of 10 and 300 epochs, then 10 epochs at the lowest rate
param_scheduler = [
    dict(type='LinearLR', start_factor=2e-3, begin=0, end=11),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=1e-5, begin=0, end=301),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=310, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=512)
