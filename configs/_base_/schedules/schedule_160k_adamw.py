"""The authors' schedule for segmentation: AdamW, poly decay to zero over the whole run.

``train_cfg.max_iters`` is the one place that sets the length: a scheduler without ``end`` ends
there. The authors' runner (mmcv 1.x) let the poly decay start at iteration 0, under the warm-up,
hence ``begin=0`` in both; mmengine excludes ``end``, so 1,501 is a ramp of 1,500 iterations.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, betas=(0.9, 0.999), weight_decay=0.01),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1501, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=0, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
