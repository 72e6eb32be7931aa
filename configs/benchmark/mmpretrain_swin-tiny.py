"""Swin-T with 1000 classes as mmpretrain ships it: what docs/benchmarks.md compares SG-Former with.

Model only, for measuring; it has no data and no schedule. All four maps come out, normalised, as a
dense task needs them, and maps smaller than a window are padded; at 224x224 and above that changes
nothing but the shift in the last stage at 224x224, which is masked.
Run: python tools/benchmark.py configs/benchmark/swin-tiny_in1k.py CONFIG --backbone-only
"""

_base_ = '../_base_/models/mmpretrain_swin_cls.py'

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(backbone=dict(out_indices=(0, 1, 2, 3), pad_small_map=True))
