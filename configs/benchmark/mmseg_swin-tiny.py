"""Swin-T as mmsegmentation ships it: the backbone alone, with all four maps.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/mmseg_swin-tiny.py CONFIG --backbone-only
"""

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmseg'
model = dict(type='SwinTransformer', drop_path_rate=0.1)
