"""LSGA-ViT made to generalise: Indian Pines, one end of every field is trained on (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_field-caps_robust.py
Cost:      0.10 M parameters, 9.30 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing, the recipe is ours.
Ours:      see README.md.

The split of ``lsga_indian-pines_field-caps.py``, with another way to it. Spectra lose their
brightness; discriminants of the training pixels stand beside components that are whitened half of
the way, so that noise stays small; windows are turned, cut down at random to single pixels and made
noisy, so that a pixel's own spectrum must do; the network is small. The last epoch counts: the
recipe was chosen on validation pixels, a single epoch is better not.
"""

_base_ = [
    '../_base_/models/lsga_small_cls.py',
    '../_base_/datasets/hyperspectral_field-caps.py',
    '../_base_/schedules/hyperspectral_adamw.py',
    '../_base_/default_hyperspectral.py',
]

dataset = dict(
    band_transform=dict(
        _delete_=True,
        type='Chain',
        transforms=[
            dict(type='SNV'),
            dict(
                type='Concat',
                transforms=[
                    [dict(type='LDA', n_components=15), dict(type='Standardize')],
                    [dict(type='Standardize'), dict(type='PCA', n_components=30, whiten=0.5)],
                ],
            ),
        ],
    ),
)
train_pipeline = [
    dict(type='mmvit_plugins.HSIRandomFlipRotate'),
    # as a list of equally likely sizes: the whole window in 3 of 7 cases
    dict(type='mmvit_plugins.HSIRandomWindow', sizes=(1, 3, 5, 7, 9, 9, 9)),
    dict(type='mmvit_plugins.HSISpectralNoise', scale=(1.0, 1.0), sigma=0.03, prob=1.0),
    dict(type='PackInputs', meta_keys=('sample_idx', 'coord', 'img_shape')),
]
train_dataloader = dict(dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
model = dict(backbone=dict(in_channels=45))
