"""AFFormer's segmentation head: squeeze, then classify.

Paper: arXiv:2301.04648. Official code: github.com/dongbo811/AFFormer, ``CLS`` in ``aff_head.py``
(no licence file). Differs: the official head owns a second 1x1 branch (``align``, 66,048
parameters) that no forward reaches; it is not built here.
"""

from mmseg.models.decode_heads import FCNHead

from ...checkpoint import ConvertsOnLoad
from ...registry import MODELS


@MODELS.register_module()
class AFFormerHead(ConvertsOnLoad, FCNHead):
    """1x1 convolution, group norm, ReLU, dropout, 1x1 classifier: mmseg's ``FCNHead``, so arranged.

    ``(N, C, H, W) -> (N, num_classes, H, W)`` on the map ``in_index``. The authors' head weights
    load as they are; a classifier for another number of classes is initialised anew, with a
    warning.

    Args:
        in_channels: Channels of the backbone's last map, 216 in all variants.
        channels: Channels between the two convolutions.
        in_index: Which of the backbone's maps to take.
        norm_cfg: Group norm in 32 groups by default.
        dropout_ratio: Dropout before the classifier.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``, ``num_classes`` among them.
    """

    reinitialised = ('conv_seg.',)
    may_be_absent = True

    def __init__(
        self,
        in_channels: int = 216,
        channels: int = 256,
        in_index: int = 3,
        norm_cfg: dict | None = None,
        dropout_ratio: float = 0.1,
        **kwargs,
    ):
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            in_index=in_index,
            norm_cfg=norm_cfg or {'type': 'GN', 'num_groups': 32},
            dropout_ratio=dropout_ratio,
            num_convs=1,
            kernel_size=1,
            concat_input=False,
            **kwargs,
        )
