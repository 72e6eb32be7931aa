"""SG-Former-small on ImageNet-1K, 224x224: 310 epochs of 1,024 pictures a step (8 GPUs x 128).

Run:       tools/dist_train.sh configs/sgformer/sgformer_small_in1k.py 8
Cost:      22.55 M parameters, 4.82 GFLOPs at 224x224 (tools/get_flops.py).
Published: 83.2 top-1 (the paper, as later papers quote it).
Ours:      not trained yet.

The recipe is that of the authors' code; the averaged weights are what is validated and published.
The rate changes once an epoch, and the cosine counts from epoch 0, as theirs; here the warm-up runs
on top of it and is up to 1 % lower for that, the rest is equal. Not theirs: crops are always
bicubic, theirs bilinear or bicubic by chance. On N GPUs set
``--cfg-options train_dataloader.batch_size=`` to 1024 / N, or pass ``--auto-scale-lr``.
"""

_base_ = [
    '../_base_/models/sgformer_cls.py',
    '../_base_/datasets/imagenet_bs128_deit_224.py',
    '../_base_/schedules/imagenet_bs1024_adamw_deit.py',
    '../_base_/default_cls.py',
]

model = dict(
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)])
)

# short edge 248: the 224 of the crop by 0.9
test_pipeline = [
    _base_.test_pipeline[0],
    dict(_base_.test_pipeline[1], scale=248),
    *_base_.test_pipeline[2:],
]
tta_pipeline = [*test_pipeline[:-1], _base_.tta_pipeline[-1]]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# no decay on norms, biases and other vectors; the position table and the weights that merge tokens
# are none of these
optim_wrapper = dict(type='AmpOptimWrapper', paramwise_cfg=dict(flat_decay_mult=0.0))
# mmengine excludes ``end``: ramps of 20 and 300 epochs, then 10 epochs at the lowest rate
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=21),
    dict(type='CosineAnnealingLR', T_max=300, eta_min=1e-5, begin=0, end=301),
]
train_cfg = dict(max_epochs=310)
# mmengine's momentum is the share of the new weights: a decay of 0.99992
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=8e-5)]
randomness = dict(seed=42, diff_rank_seed=True)
