"""MGFF on Swin-T, grocery22: what its ancestor PIM does.

Run:       python tools/train.py configs/mgff/mgff_swin-tiny_pim_grocery22.py
Cost:      32.26 M parameters, 4.71 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

One of the ablation of ``mgff_swin-tiny_grocery22.py``. Nodes are pooled before the graph, which has
PIM's start and no activation; super nodes are merged by a learned layer; each map has an auxiliary
classifier; there is no attention and no squeeze and excitation. Of PIM the feature pyramid and the
selection of places are left out.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(
    neck=dict(
        attention=False,
        se_ratio=None,
        order='pool_gcn',
        adj_init='pim',
        gcn_act=None,
        merge='linear',
        return_maps=True,
    ),
    head=dict(aux_in_channels=(768, 768, 768, 768)),
)
