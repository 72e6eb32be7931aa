"""SG-Former-small with Semantic FPN on ADE20K, 512x512: 80,000 iterations of 32 (8 GPUs x 4).

Run:       tools/dist_train.sh configs/sgformer/sgformer_small_fpn_ade20k.py 8
Cost:      26.28 M parameters, 49.33 GFLOPs at 512x512 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.

The authors publish no code or config for segmentation, and whether they ran Semantic FPN at all we
could not establish. The recipe is the common one of papers of that time: 80,000 iterations of 32
pictures, AdamW 2e-4, decay 1e-4; poly 0.9 from the first iteration, without warm-up, is
mmsegmentation's for PoolFormer. Drop path is that of pre-training. The test resizes to multiples of
32 and sees pictures whole. On N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 32 / N,
or scale the rate with ``--auto-scale-lr``. To start from ImageNet weights add
``--cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/sgformer_fpn.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=150))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=2e-4, weight_decay=1e-4))
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, by_epoch=False)]
train_cfg = dict(max_iters=80000)
default_hooks = dict(checkpoint=dict(interval=8000))
auto_scale_lr = dict(base_batch_size=32)
