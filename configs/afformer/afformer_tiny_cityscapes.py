"""AFFormer-tiny on Cityscapes, 1024x1024 crops: 160,000 iterations of 8 pictures (8 GPUs x 1).

Run:       tools/dist_train.sh configs/afformer/afformer_tiny_cityscapes.py 8
Cost:      2.09 M parameters, 24.15 GFLOPs at 1024x2048 (tools/get_flops.py).
Published: 76.5 mIoU (as recalled from the paper; not re-read);
           76.2 in an independent retraining.
Ours:      not trained yet.

The recipe is the authors': 8 pictures per iteration (two GPUs of 4), AdamW 4e-4, the same for all
three variants. On N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 8 / N, or scale the
rate with ``--auto-scale-lr``. To start from ImageNet weights, as the authors do, add
``--cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/afformer.py',
    '../_base_/datasets/cityscapes_1024x1024.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=19))
optim_wrapper = dict(optimizer=dict(lr=4e-4))
auto_scale_lr = dict(base_batch_size=8)
