"""MGFF on Swin-T looking twice, grocery22, 224x224, from random weights (1 GPU).

Run:       python tools/train.py configs/mgff/two-stage_mgff_swin-tiny_grocery22.py
Cost:      42.06 M parameters, 10.67 GFLOPs at 224x224 (tools/get_flops.py).
Published: nothing.
Ours:      see README.md.

Training is that of ``mgff_swin-tiny_grocery22.py``, which looks once: a checkpoint of that config
is
tested here as it is. Where to look the second time is read from the last map of the first look,
since
a ViT that has seen 862 pictures knows little of it. To try the ViT, train ``vit-tiny_grocery22.py``
and set::

    localizer = dict(
        _delete_=True,
        type='mmvit_plugins.AttentionLocalizer',
        vit=dict(
            type='mmpretrain.VisionTransformer',
            arch='deit-tiny',
            img_size=224,
            patch_size=16,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='work_dirs/vit-tiny_grocery22/epoch_300.pth',
                prefix='backbone.',
            ),
        ),
    )

The boxes are cut out of the 224x224 crop that the first look sees. The pictures have 160 pixels on
their short edge, so there is no more detail to be had.
"""

_base_ = './mgff_swin-tiny_grocery22.py'

model = dict(
    type='mmvit_plugins.TwoStageClassifier',
    localizer=dict(type='mmvit_plugins.ActivationLocalizer'),
)
