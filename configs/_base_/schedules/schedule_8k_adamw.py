"""8,000 iterations from random weights, for small data sets: AdamW, warm-up 500, poly to zero.

``train_cfg.max_iters`` sets the length, as in ``schedule_160k_adamw.py``; the warm-up stays at 500
iterations unless ``param_scheduler.0.end`` says otherwise.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-4, betas=(0.9, 0.999), weight_decay=0.01),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=501, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=0, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8000, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
