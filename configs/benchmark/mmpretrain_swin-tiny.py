"""Swin-T as mmpretrain ships it: the backbone alone, with all four maps, as dense tasks need them.

Maps smaller than a window are filled up to one, which changes nothing at 224x224 and above but the
shift in the last stage at 224x224, which is masked. Model only, for measuring; it has no data and
no schedule.
Run: python tools/benchmark.py configs/benchmark/mmpretrain_swin-tiny.py CONFIG --backbone-only
"""

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(
    type='SwinTransformer', drop_path_rate=0.1, out_indices=(0, 1, 2, 3), pad_small_map=True
)
