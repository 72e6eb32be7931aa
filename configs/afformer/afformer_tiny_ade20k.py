"""AFFormer-tiny on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_tiny_ade20k.py 8
Cost:      2.13 M parameters, 3.29 GFLOPs at 512x512 (tools/get_flops.py).
Published: 38.7 mIoU (as recalled from the paper; not re-read).
Ours:      not trained yet.

The recipe is the authors': 16 pictures per iteration (two GPUs of 8), AdamW 3e-4, the same for all
three variants. On N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 16 / N, or scale the
rate with ``--auto-scale-lr``. To start from ImageNet weights, as the authors do, add
``--cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/afformer.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=150))
