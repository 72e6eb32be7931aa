"""SG-Former-S with 1000 classes, its blocks recomputed in the backward pass: memory against time.

Model only, for measuring; it has no data and no schedule.
Run: python tools/benchmark.py configs/benchmark/sgformer_small_with-cp_in1k.py --train --shape 1024
"""

_base_ = '../_base_/models/sgformer_cls.py'

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(backbone=dict(with_cp=True))
