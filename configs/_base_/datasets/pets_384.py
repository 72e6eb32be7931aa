"""Oxford-IIIT Pets: 37 breeds, 3,680 pictures to train on and 3,669 to test, as ``cub_384.py``.

Layout under ``data/Oxford-IIIT_Pets``: ``annotations/trainval.txt``, ``annotations/test.txt`` and
``images/*.jpg``.
"""

_base_ = './cub_384.py'

dataset_type = 'OxfordIIITPet'
data_root = 'data/Oxford-IIIT_Pets'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
