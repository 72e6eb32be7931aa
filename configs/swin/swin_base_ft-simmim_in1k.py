"""Swin-B from SimMIM's pre-training to ImageNet-1K, 224x224: 100 epochs of 2,048 (16 GPUs x 128).

Run:       NNODES=2 tools/dist_train.sh configs/swin/swin_base_ft-simmim_in1k.py 8 (on both)
Cost:      87.77 M parameters, 15.47 GFLOPs at 224x224 (tools/get_flops.py).
Published: 84.0 top-1 (SimMIM's repository, pre-trained for 800 epochs).
Ours:      not trained yet.

The start is SimMIM's file of 192x192 and window 6, put where ``backbone.init_cfg`` says. The recipe
is that of configs/simmim in the authors' repository: the rate falls by 0.8 from block to block,
from the head down (0.9 where pre-training took 100 epochs). Not theirs: tables are resized
bicubically, theirs by a spline on a geometric grid; the warm-up of a layer starts at a share of its
own rate, theirs at 1e-6 for all; a merging counts to the block after it and the last norm to the
last block, theirs to the block before it and to the head.
"""

_base_ = './swin_base_in1k.py'

model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='pretrain/simmim_pretrain__swin_base__img192_window6__800ep.pth',
        ),
    )
)
optim_wrapper = dict(
    optimizer=dict(lr=1.25e-3 * 2048 / 512),
    constructor='mmvit_plugins.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.8),
)
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=2e-4),
    # one lowest rate for all layers
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=20, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
