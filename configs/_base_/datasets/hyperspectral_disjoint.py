"""The protocol for transfer: training pixels come from few fields of a class, tests from others.

As ``hyperspectral_field-caps.py``, but whole fields are taken for training, in random order, until
a class has its 10 %; of the last one only an end, and so for validation.
"""

_base_ = './hyperspectral_field-caps.py'

dataset = dict(split_cfg=dict(mode='disjoint'))
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
