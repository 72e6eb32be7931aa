"""MGFF on Swin-T, grocery22: the unifying convolutions alone.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_unify-only_grocery22.py
Cost:      31.67 M parameters, 4.71 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``. The mean of all nodes is classified: no
attention, no squeeze and excitation, no graph, no learned pooling.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(neck=dict(attention=False, se_ratio=None, adjacency=None, pool='avg'))
