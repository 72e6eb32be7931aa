"""What every hyperspectral config adds to ``default_runtime.py``: scope, epochs, reports.

There is no hook that draws samples: a window is no picture. ``tools/map_scene.py`` draws maps. The
seed is that of LSGA-ViT's authors.
"""

_base_ = './default_runtime.py'

default_scope = 'mmpretrain'
randomness = dict(seed=531)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=10, max_keep_ckpts=1))
custom_hooks = [
    dict(type='mmvit_plugins.DataCheckHook'),
    dict(type='mmvit_plugins.HyperspectralHook'),
]
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
