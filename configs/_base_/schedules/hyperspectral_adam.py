"""LSGA-ViT's schedule: 70 epochs of Adam at a constant rate, no decay.

Where a protocol has a validation part, it is evaluated every 5 epochs. ``val_cfg`` comes with the
data.
"""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
param_scheduler = []  # constant
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=70, val_interval=5)
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=128)
