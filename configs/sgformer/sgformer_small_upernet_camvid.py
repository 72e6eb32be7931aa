"""SG-Former-small with UperNet on CamVid, 360x480, from random weights: 8,000 iterations of 16.

Run:       python tools/train.py configs/sgformer/sgformer_small_upernet_camvid.py
Cost:      51.64 M parameters, 156.67 GFLOPs at 360x480 (tools/get_flops.py).
Published: nothing.
Ours:      not trained yet.

Data, schedule and batch are those of ``afformer_tiny_camvid.py``, from which this differs in the
model only. A shorter run: ``--cfg-options train_cfg.max_iters=1000 param_scheduler.0.end=101``;
another seed: ``--cfg-options randomness.seed=1``.
"""

_base_ = [
    '../_base_/models/sgformer_upernet.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_8k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size, seg_pad_val=11),
    decode_head=dict(num_classes=11, ignore_index=11),
    auxiliary_head=dict(num_classes=11, ignore_index=11),
)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best='mIoU'))
