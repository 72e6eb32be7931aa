"""SegFormer-B0 with 150 classes as mmsegmentation ships it: the other side of docs/benchmarks.md.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/segformer_mit-b0_ade20k.py CONFIG --shape 512
"""

_base_ = '../_base_/models/segformer_mit-b0.py'

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmseg'
