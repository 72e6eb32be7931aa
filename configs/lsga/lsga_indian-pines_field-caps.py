"""LSGA-ViT on Indian Pines, one end of every field is trained on (CPU or 1 GPU).

Run:       python tools/train.py configs/lsga/lsga_indian-pines_field-caps.py
Cost:      0.50 M parameters, 45.21 MFLOPs at 9x9 (tools/get_flops.py).
Published: nothing that could be obtained.
Ours:      see README.md.

The network and schedule of the published protocol on a split without overlap: no window of a test
pixel holds a training pixel, the transform of the bands has not seen what it is tested on, and the
epoch is chosen on validation pixels. This is what a map of the scene is worth.
"""

_base_ = [
    '../_base_/models/lsga_cls.py',
    '../_base_/datasets/hyperspectral_field-caps.py',
    '../_base_/schedules/hyperspectral_adam.py',
    '../_base_/default_hyperspectral.py',
]

default_hooks = dict(checkpoint=dict(save_best='hsi/OA', rule='greater'))
