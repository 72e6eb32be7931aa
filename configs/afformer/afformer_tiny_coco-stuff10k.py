"""AFFormer-tiny on COCO-Stuff 10k, 512x512: 80,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/afformer/afformer_tiny_coco-stuff10k.py 8
Cost:      2.13 M parameters, 3.34 GFLOPs at 512x512 (tools/get_flops.py).
Published: nothing that we found.
Ours:      not trained yet.

The authors report this data set and publish no config: 80,000 iterations of 16 pictures is the
paper as recalled, the rest is their ADE20K recipe, which SSA-Seg (NeurIPS 2024) also used here.
On N GPUs set ``--cfg-options train_dataloader.batch_size=`` to 16 / N, or scale the rate with
``--auto-scale-lr``. To start from ImageNet weights, as the authors do, add
``--cfg-options model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=FILE``.
"""

_base_ = [
    '../_base_/models/afformer.py',
    '../_base_/datasets/coco-stuff10k.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size), decode_head=dict(num_classes=171))
train_cfg = dict(max_iters=80000)
default_hooks = dict(checkpoint=dict(interval=8000))
