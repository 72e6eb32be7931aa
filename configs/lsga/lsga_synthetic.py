"""A small LSGA-ViT on the generated scene, one end of every field trained on: seconds on a CPU.

Run:       make demo-hyperspectral, or python tools/train.py configs/lsga/lsga_synthetic.py
Cost:      0.08 M parameters, 4.57 MFLOPs at 7x7 (tools/get_flops.py).
Published: nothing, the scene is ours.
Ours:      see README.md.

The scene comes with the package and needs no files. As ``lsga_indian-pines_field-caps.py`` in all
but sizes and length. It shows that everything works; what a network is worth on real scenes it
cannot show.
"""

_base_ = [
    '../_base_/models/lsga_cls.py',
    '../_base_/datasets/hyperspectral_field-caps.py',
    '../_base_/schedules/hyperspectral_adam.py',
    '../_base_/default_hyperspectral.py',
]

dataset = dict(
    scene='synthetic',
    window_size=7,
    band_transform=dict(n_components=12),
)
train_dataloader = dict(batch_size=32, dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
model = dict(
    data_preprocessor=dict(num_classes=6),
    backbone=dict(in_channels=12, window_size=7, embed_dims=48, num_heads=(4,)),
    head=dict(num_classes=6, in_channels=48),
)
train_cfg = dict(max_epochs=40)
default_hooks = dict(checkpoint=dict(save_best='hsi/OA', rule='greater'))
