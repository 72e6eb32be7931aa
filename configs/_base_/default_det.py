"""What every detection config adds to ``default_runtime.py``: scope, epochs, drawing.

``--tta`` needs nothing here: flips, and one NMS over all boxes.
"""

_base_ = './default_runtime.py'

default_scope = 'mmdet'
default_hooks = dict(
    checkpoint=dict(interval=1, max_keep_ckpts=3),
    visualization=dict(type='DetVisualizationHook'),
)
custom_hooks = [dict(type='mmvit_plugins.DataCheckHook'), dict(type='NumClassCheckHook')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
