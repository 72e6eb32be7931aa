"""What every config shares: the import that registers us, processes, hooks, logging.

Scalars go to a file in the work folder. To send them to TensorBoard or Weights & Biases instead,
add ``--cfg-options visualizer.vis_backends.0.type=TensorboardVisBackend`` (or ``WandbVisBackend``)
to the command; each needs its own package installed.
"""

custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mmvit_plugins.CheckpointHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [dict(type='mmvit_plugins.DataCheckHook')]
log_level = 'INFO'
load_from = None
resume = False
