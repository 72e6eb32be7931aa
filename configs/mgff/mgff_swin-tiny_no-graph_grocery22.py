"""MGFF on Swin-T, grocery22: without the graph layer.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_no-graph_grocery22.py
Cost:      41.43 M parameters, 5.19 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``. Nodes are pooled to super nodes as they are.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(neck=dict(adjacency=None))
