"""SegFormer-B0 on CamVid under the recipe of ``afformer_tiny_camvid.py``: only the model differs.

Run:       python tools/train.py configs/afformer/segformer_mit-b0_camvid.py
Cost:      3.72 M parameters, 5.02 GFLOPs at 360x480 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.
"""

_base_ = [
    '../_base_/models/segformer_mit-b0.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/schedule_8k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size, seg_pad_val=11),
    decode_head=dict(num_classes=11, ignore_index=11),
)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best='mIoU'))
