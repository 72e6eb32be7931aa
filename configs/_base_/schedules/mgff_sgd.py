"""MGFF's schedule: SGD with momentum 0.99 at 2e-4, 50 epochs of cosine, a step of it each epoch.

These are all the numbers that are published of it. Ours: batches of 8, decay 5e-4 (PIM's), but not
on norms, biases, position tables, the graph's adjacency and its ``alpha``; gradients clipped at 5;
no warm-up. A momentum of 0.99 makes the steps of 0.02 that a rate of 2e-4 without momentum
would not: where a run diverges take ``mgff_sgd_low-momentum.py``.

All layers have one rate, as far as is known. To give the neck, which starts at random, ten times
that, add in a config (mmengine applies nothing else to what a key names, so the neck's norms and
biases then decay too)::

    fast = dict(lr_mult=10.0, decay_mult=0.0)
    optim_wrapper = dict(
        paramwise_cfg=dict(
            custom_keys={'neck': dict(lr_mult=10.0), 'neck.graph.conv.adjacency': fast}
        )
    )
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=2e-4, momentum=0.99, weight_decay=5e-4),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        flat_decay_mult=0.0,  # norms, biases, alpha
        custom_keys={
            'relative_position_bias_table': dict(decay_mult=0.0),
            'graph.conv.adjacency': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, begin=0)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=8)
