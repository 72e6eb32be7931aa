"""NABirds: 555 kinds of birds, 23,929 pictures to train on and 24,633 to test, as ``cub_384.py``.

Layout under ``data/nabirds``, as unpacked: ``images.txt``, ``image_class_labels.txt``,
``train_test_split.txt``, ``classes.txt``, ``hierarchy.txt`` and ``images/CLASS/*.jpg``.
"""

_base_ = './cub_384.py'

dataset_type = 'mmvit_plugins.NABirds'
data_root = 'data/nabirds'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
