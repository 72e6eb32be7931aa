"""AFFormer-tiny on CamVid, 360x480, from random weights: 8,000 iterations of 16 pictures (1 GPU).

Run:       python tools/train.py configs/afformer/afformer_tiny_camvid.py
Cost:      2.09 M parameters, 2.00 GFLOPs at 360x480 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

The other side of the comparison is ``segformer_mit-b0_camvid.py``: same data, schedule and batch.
A shorter run: ``--cfg-options train_cfg.max_iters=1000 param_scheduler.0.end=101``; another seed:
``--cfg-options randomness.seed=1``.
"""

_base_ = [
    '../_base_/models/afformer.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_8k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size, seg_pad_val=11),
    decode_head=dict(num_classes=11, ignore_index=11),
)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best='mIoU'))
