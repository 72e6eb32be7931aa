"""What every segmentation config adds to ``default_runtime.py``: scope, iterations, drawing."""

_base_ = './default_runtime.py'

default_scope = 'mmseg'
# models hold plain BN; the runner turns it into torch's SyncBatchNorm where it trains in parallel
sync_bn = 'torch'
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=16000),
    visualization=dict(type='SegVisualizationHook'),
)
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=False)
tta_model = dict(type='SegTTAModel')
