"""What every segmentation config shares: scope, hooks, logging, drawing, processes.

Scalars go to a file in the work folder. To send them to TensorBoard or Weights & Biases instead,
add ``--cfg-options visualizer.vis_backends.0.type=TensorboardVisBackend`` (or ``WandbVisBackend``)
to the command; each needs its own package installed.
"""

default_scope = 'mmseg'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)
# models hold plain BN; the runner turns it into torch's SyncBatchNorm where it trains in parallel
sync_bn = 'torch'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmvit_plugins.CheckpointHook', by_epoch=False, interval=16000),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
custom_hooks = [dict(type='mmvit_plugins.DataCheckHook')]

visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False

tta_model = dict(type='SegTTAModel')
