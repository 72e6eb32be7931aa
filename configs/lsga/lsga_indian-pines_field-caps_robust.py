"""LSGA-ViT made to generalise: Indian Pines, one end of every field is trained on (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_field-caps_robust.py
Cost:      0.05 M parameters, 1.35 MFLOPs at 5x5 (tools/get_flops.py).
Published: nothing, the recipe is ours.
Ours:      see README.md.

The pixels of ``lsga_indian-pines_field-caps.py``, looked at in another way. Spectra lose their
brightness and are projected on what tells the training pixels' classes apart, in units of what
varies within a class: whitened components make as much of noise. Windows are small, turned, cut
down to single pixels at random and made noisy, so that spectra must do, and the network is small.
The last epoch counts: the recipe was chosen on validation pixels, an epoch is better not.
"""

_base_ = [
    '../_base_/models/lsga_small_cls.py',
    '../_base_/datasets/hyperspectral_field-caps.py',
    '../_base_/schedules/hyperspectral_adamw.py',
    '../_base_/default_hyperspectral.py',
]

dataset = dict(
    window_size=5,
    split_cfg=dict(guard=4),  # the pixels are those of windows of 9
    band_transform=dict(
        _delete_=True,
        type='Chain',
        transforms=[dict(type='SNV'), dict(type='LDA', n_components=15)],
    ),
)
train_pipeline = [
    dict(type='mmvit_plugins.HSIRandomFlipRotate'),
    dict(type='mmvit_plugins.HSIRandomWindow', sizes=(1, 3, 5, 5)),
    # half of the deviation within a class
    dict(type='mmvit_plugins.HSISpectralNoise', scale=(1.0, 1.0), sigma=0.5, prob=1.0),
    dict(type='PackInputs', meta_keys=('sample_idx', 'coord', 'img_shape')),
]
train_dataloader = dict(dataset=dict(dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
model = dict(backbone=dict(in_channels=15, window_size=5))
