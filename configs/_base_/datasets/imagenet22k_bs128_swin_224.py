"""ImageNet-22K, 21,841 classes, with the pipelines of ``imagenet_bs128_deit_224.py``.

Layout under ``data/imagenet21k``, as mmpretrain names it: ``train/n01440764/*.JPEG`` and
``meta/{train,val}.txt`` with lines ``n01440764/n01440764_10026.JPEG LABEL``. Both lists name
pictures under ``train``: there is no official validation split, the authors hold a part out. Labels
run from 0 to 21,840, in the authors' order if the head is to become one for ImageNet-1K by their
``map22kto1k.txt``.
"""

_base_ = './imagenet_bs128_deit_224.py'

dataset_type = 'ImageNet21k'
data_root = 'data/imagenet21k'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='meta/train.txt',
        data_prefix='train',
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        ann_file='meta/val.txt',
        data_prefix='train',
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
