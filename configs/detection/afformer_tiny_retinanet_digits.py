"""AFFormer-tiny, RetinaNet on digit scenes (the embedded data), 128x128, from scratch: 2 epochs.

Run:       python tools/train.py configs/detection/afformer_tiny_retinanet_digits.py
Cost:      3.82 M parameters, 0.32 GFLOPs at 128x128 (tools/get_flops.py); minutes on two cores.
Published: nothing.
Ours:      see README.md.

``python tools/dataset_converters/digits.py --out data/digits`` makes the data. The detector has a
quarter of the usual channels and half of the layers: small enough for a CPU.
"""

_base_ = [
    '../_base_/models/afformer_tiny_retinanet.py',
    '../_base_/datasets/digits_detection.py',
    '../_base_/schedules/detection_scratch_adamw.py',
    '../_base_/default_det.py',
]

model = dict(
    neck=[_base_.model.neck[0], {**_base_.model.neck[1], 'out_channels': 64}],
    bbox_head=dict(num_classes=10, in_channels=64, feat_channels=64, stacked_convs=2),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, begin=0, end=50, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=0, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=2, val_interval=1)
