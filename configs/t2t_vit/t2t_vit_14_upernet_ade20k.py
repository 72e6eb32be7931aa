"""T2T-ViT-14 with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/t2t_vit/t2t_vit_14_upernet_ade20k.py 8
Cost:      45.02 M parameters, 212.13 GFLOPs at 512x512 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.

No one publishes T2T-ViT for segmentation, so the recipe is the one that mmsegmentation has for
UperNet on Swin, ViT and DeiT: AdamW 6e-5, decay 0.01 but not on norms and the class token, 1,500
iterations of warm-up, poly to zero, an FCN on the map of stride 16 at 0.4, drop path 0.1. The poly
decay starts under the warm-up, as in the other configs here. On N GPUs set ``--cfg-options
train_dataloader.batch_size=`` to 16 / N, or scale the rate with ``--auto-scale-lr``. To start from
the authors' ImageNet weights add ``--cfg-options model.backbone.init_cfg.type=Pretrained
model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/t2t_vit_upernet.py',
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
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(cls_token=dict(decay_mult=0.0))),
)
