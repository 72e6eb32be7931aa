"""What every segmentor shares: pictures in RGB, normalised and padded; tested whole.

A config sets ``data_preprocessor.size``, the training crop (height, width) that smaller pictures
are padded to.
"""

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
