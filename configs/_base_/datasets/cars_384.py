"""Stanford Cars: 196 models, 8,144 pictures to train on and 8,041 to test, as ``cub_384.py``.

Layout under ``data/Stanford_Cars``: ``devkit/cars_train_annos.mat``, ``cars_train/*.jpg``,
``devkit/cars_test_annos_withlabels.mat`` and ``cars_test/*.jpg``; or ``cars_annos.mat`` and
``car_ims/*.jpg``. Mind the underscore before ``withlabels``: the docstring of mmpretrain's class
leaves it out, its code does not. ``cars_test_annos.mat`` of the devkit has no labels.
"""

_base_ = './cub_384.py'

dataset_type = 'StanfordCars'
data_root = 'data/Stanford_Cars'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
