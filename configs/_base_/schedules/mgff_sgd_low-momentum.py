"""``mgff_sgd.py`` in PIM's numbers: momentum 0.9 (Nesterov) at 5e-4, 800 iterations of warm-up.

Steps settle at a quarter of those of ``mgff_sgd.py`` (5e-4 / 0.1 beside 2e-4 / 0.01). PIM takes
batches of 16, two to a step; here they stay at 8. Length, decay and clipping are those of
``mgff_sgd.py``; the rate falls with each iteration.
"""

_base_ = './mgff_sgd.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4, momentum=0.9, nesterov=True))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=800, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=0, convert_to_iter_based=True),
]
