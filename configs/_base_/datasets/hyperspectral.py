"""Windows round the labelled pixels of one hyperspectral scene, divided into three parts.

A protocol says how: ``hyperspectral_random.py``, ``hyperspectral_field-caps.py`` and
``hyperspectral_disjoint.py`` add to this file what they need. Scenes lie under
``data/hyperspectral``, by their usual file names. A config of another scene sets
``dataset.scene`` and hands ``dataset`` to its loaders, as the protocols do.

The windows of all parts are views of one array in memory; workers would cost more than they bring.
"""

dataset = dict(
    type='mmvit_plugins.HyperspectralDataset',
    scene='indian-pines',
    data_root='data/hyperspectral',
    window_size=9,
    band_transform=dict(type='PCA', n_components=36, whiten=True),
    pipeline=[dict(type='PackInputs', meta_keys=('sample_idx', 'coord', 'img_shape'))],
)
train_dataloader = dict(
    batch_size=128,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(dataset, split='train'),
)
val_dataloader = dict(
    batch_size=512,
    num_workers=0,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, split='val'),
)
test_dataloader = dict(val_dataloader, dataset=dict(dataset, split='test'))
val_evaluator = dict(type='mmvit_plugins.HyperspectralMetric')
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')  # here and not in the schedule: a protocol may do without
