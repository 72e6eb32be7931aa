"""BCCD, blood cells under a microscope, 3 classes, 640x480 pictures (width x height).

Layout under ``data/bccd``: ``JPEGImages/*.jpg`` and ``coco/instances_{train,val,test}.json`` (205,
87 and 72 pictures; 2,804, 1,137 and 945 boxes). The data set comes with Pascal VOC's annotations;
the files for COCO hold the same boxes but two that have no area. The val split chooses, the test
split reports.
"""

data_root = 'data/bccd/'
metainfo = dict(
    classes=('RBC', 'WBC', 'Platelets'),
    palette=[[220, 20, 60], [60, 60, 230], [30, 160, 80]],
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(640, 480), ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 480), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),  # after the resize: boxes keep their own scale
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=metainfo,
        ann_file='coco/instances_train.json',
        data_prefix=dict(img='JPEGImages/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        metainfo=metainfo,
        ann_file='coco/instances_val.json',
        data_prefix=dict(img='JPEGImages/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    val_dataloader,
    dataset=dict(val_dataloader['dataset'], ann_file='coco/instances_test.json'),
)
val_evaluator = dict(
    type='CocoMetric', ann_file=data_root + 'coco/instances_val.json', metric='bbox', classwise=True
)
test_evaluator = dict(val_evaluator, ann_file=data_root + 'coco/instances_test.json')
