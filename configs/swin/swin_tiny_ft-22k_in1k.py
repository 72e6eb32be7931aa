"""Swin-T from ImageNet-22K to ImageNet-1K, 224x224: 30 epochs of 1,024 pictures (8 GPUs x 128).

Run:       tools/dist_train.sh configs/swin/swin_tiny_ft-22k_in1k.py 8
Cost:      28.29 M parameters, 4.51 GFLOPs at 224x224 (tools/get_flops.py).
Published: 80.9 top-1 (the authors' repository).
Ours:      not trained yet.

The start is the authors' 22K file, put where ``model.init_cfg`` says. Its head of 21,841 classes
does not fit and starts anew. To keep the rows that are classes of ImageNet-1K, as the authors do,
run ``tools/convert_checkpoint.py FILE NEW --class-map map22kto1k.txt`` with the list in their
repository, and add ``--cfg-options model.init_cfg.checkpoint=NEW``. The rest is the recipe of
``swin_tiny_in1k.py`` with another length, rate and drop path, and next to no decay.
"""

_base_ = './swin_tiny_in1k.py'

model = dict(
    backbone=dict(drop_path_rate=0.1),
    init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_tiny_patch4_window7_224_22k.pth'),
)
optim_wrapper = dict(optimizer=dict(lr=2e-5 * 1024 / 512, weight_decay=1e-8))
param_scheduler = [dict(_base_.param_scheduler[0], end=5), dict(_base_.param_scheduler[1], begin=5)]
train_cfg = dict(max_epochs=30)
