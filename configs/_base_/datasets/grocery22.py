"""22 fine kinds of fruit and vegetable from the Grocery Store Dataset, 224x224 crops.

Layout under ``data/grocery22``: ``{train,val,test}/CLASS/*.jpg`` (862, 80 and 817 pictures, the
published split) and ``meta/{train,val,test}.txt`` with lines ``CLASS/NAME.jpg LABEL``. The pictures
have a short edge of 160 pixels and are enlarged to the size that the networks are made for. Hue is
left alone, since colour tells many of the classes apart. The val split lacks 6 classes, as
published: it is for watching, the test split reports.
"""

dataset_type = 'CustomDataset'
data_root = 'data/grocery22'
metainfo = dict(
    classes=(
        'Golden-Delicious',
        'Granny-Smith',
        'Pink-Lady',
        'Red-Delicious',
        'Royal-Gala',
        'Cantaloupe',
        'Galia-Melon',
        'Honeydew-Melon',
        'Watermelon',
        'Anjou',
        'Conference',
        'Kaiser',
        'Green-Bell-Pepper',
        'Orange-Bell-Pepper',
        'Red-Bell-Pepper',
        'Yellow-Bell-Pepper',
        'Floury-Potato',
        'Solid-Potato',
        'Sweet-Potato',
        'Beef-Tomato',
        'Regular-Tomato',
        'Vine-Tomato',
    ),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.25, 1.0),
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=224, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]
tta_pipeline = [
    *test_pipeline[:-1],
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='PackInputs')],
        ],
    ),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='meta/train.txt',
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        ann_file='meta/val.txt',
        data_prefix='val',
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(val_dataloader['dataset'], ann_file='meta/test.txt', data_prefix='test'),
)
val_evaluator = dict(type='Accuracy', topk=(1, 5))
test_evaluator = val_evaluator
