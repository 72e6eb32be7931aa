"""Swin-T with UperNet on ADE20K, 512x512: 160,000 iterations of 16 pictures (8 GPUs x 2).

Run:       tools/dist_train.sh configs/swin/swin_tiny_upernet_ade20k.py 8
Cost:      59.02 M parameters, 235.42 GFLOPs at 512x512 (tools/get_flops.py).
Published: 44.51 mIoU, 45.81 multi-scale (the authors' repository for segmentation).
Ours:      not trained yet.

The recipe is the authors': AdamW 6e-5, decay 0.01 but not on the backbone's norms and position
tables, 1,500 iterations of warm-up, poly to zero, an FCN on the third map at 0.4, drop path 0.3 in
all variants. The start is their ImageNet file, put where ``backbone.init_cfg`` says. Pictures are
tested whole, not resized to multiples of 32. On N GPUs set ``--cfg-options
train_dataloader.batch_size=`` to 16 / N, or scale the rate with ``--auto-scale-lr``.
"""

_base_ = [
    '../_base_/models/swin_upernet.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/schedule_160k_adamw.py',
    '../_base_/default_seg.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='pretrain/swin_tiny_patch4_window7_224.pth')
    ),
    decode_head=dict(num_classes=150),
    auxiliary_head=dict(num_classes=150),
)
optim_wrapper = dict(
    optimizer=dict(lr=6e-5),
    paramwise_cfg=dict(
        custom_keys=dict(
            norm=dict(decay_mult=0.0), relative_position_bias_table=dict(decay_mult=0.0)
        )
    ),
)

# the data's without ResizeToMultiple
test_pipeline = [*_base_.test_pipeline[:2], *_base_.test_pipeline[3:]]
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type='TestTimeAug',
        transforms=[
            _base_.tta_pipeline[1]['transforms'][0],
            *_base_.tta_pipeline[1]['transforms'][2:],
        ],
    ),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
