"""12 epochs of COCO, as Swin's authors train detectors: AdamW, 1,000 iterations of warm-up, steps.

No decay on norms, position tables and class tokens.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        custom_keys=dict(
            relative_position_bias_table=dict(decay_mult=0.0),
            pos_embed=dict(decay_mult=0.0),
            cls_token=dict(decay_mult=0.0),
        ),
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=1000, by_epoch=False),
    dict(type='MultiStepLR', begin=0, milestones=[8, 11], gamma=0.1),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
