"""SG-Former-small with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/sgformer/sgformer_small_upernet_ade20k.py 8
Cost:      51.71 M parameters, 238.62 GFLOPs at 512x512 (tools/get_flops.py).
Published: 49.9 mIoU, 51.5 multi-scale (the paper, as later papers quote it).
Ours:      not trained yet.

The authors publish head, crop and length (UperNet, 512x512, 160,000 iterations) but no code or
config for segmentation. The rest is what papers of that time share, after Swin's: AdamW 6e-5, decay
0.01 but not on norms and the position table, 1,500 iterations of warm-up, poly to zero, an FCN on
the third map at 0.4, drop path as in pre-training. How their attention went beyond 224x224 is not
known either; here it is the backbone's default. The test resizes to multiples of 32. Pictures are
seen whole: the backbone's group norms average over the map, so windows would change the features.
On N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 16 / N, or scale the rate with
``--auto-scale-lr``. To start from ImageNet weights, as the authors do, add
``--cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/sgformer_upernet.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
optim_wrapper = dict(
    optimizer=dict(lr=6e-5),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(pos_embed=dict(decay_mult=0.0))),
)
