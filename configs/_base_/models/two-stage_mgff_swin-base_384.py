"""The network of ``mgff_swin-base_384.py``, looking twice: ViT-B/16 says where, Swin what.

The localiser is never trained. It is mmpretrain's ViT-B/16 of ImageNet-21K, fine-tuned on
ImageNet-1K at 384x384, whose file lies where ``localizer.vit.init_cfg`` says; its pictures range
from -1 to 1, hence a mean and deviation of its own. It sees 384x384 pixels as the classifier does;
``localizer.size=224`` costs a third and gives other boxes. A config sets ``num_classes`` and a test
pipeline without a crop.
"""

_base_ = './mgff_swin-base_384.py'

model = dict(
    type='mmvit_plugins.TwoStageClassifier',
    localizer=dict(
        type='mmvit_plugins.AttentionLocalizer',
        vit=dict(
            type='mmpretrain.VisionTransformer',
            arch='b',
            img_size=384,
            patch_size=16,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='pretrain/vit-base-p16_in21k-pre-3rdparty_ft-64xb64_in1k-384_20210928-'
                '98e8652b.pth',
                prefix='backbone.',
            ),
        ),
        size=384,
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
    ),
    input_size=384,
)
