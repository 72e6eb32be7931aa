"""The classifier behind :class:`~mmvit_plugins.models.MGFF`, and one beside it for each map.

Sources: Xu et al., Pattern Recognition 146 (2024) 110042, a linear classifier of the fused vector;
Chou et al., arXiv:2202.03822 (PIM, github.com/chou141253/FGVC-PIM, MIT), dropout before it and the
classifiers of single maps, which train the maps and decide nothing. This is an independent
implementation.
"""

from collections.abc import Sequence

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import nn

from ...registry import MODELS
from ..checks import check_positive


@MODELS.register_module()
class MGFFHead(LinearClsHead):
    """Dropout and a linear layer on the last of ``feats``: ``(N, C) -> (N, num_classes)``.

    With ``aux_in_channels``, each of the other ``feats``, maps ``(N, C_i, H_i, W_i)`` that the neck
    returns with ``return_maps=True``, has a classifier of its own in training: at every place a 1x1
    convolution, batch norm, ReLU and a linear layer; the mean of its logits over the places is what
    the loss sees. (The mean is taken before the linear layer, which comes to the same and is
    cheaper.)

    Args:
        num_classes: Number of classes.
        in_channels: C, the neck's ``out_channels``.
        drop_rate: Dropout before the linear layer.
        aux_in_channels: C_i of each map; None: no auxiliary classifiers.
        aux_loss_weight: Factor of the sum of the auxiliary losses, ``loss_aux``.
        loss: The loss, of all classifiers; by default cross entropy.
        topk: For the accuracy in training.
        cal_acc: Whether to log it.
        init_cfg: mmengine's initialisation; by default that of ``LinearClsHead``.

    Raises:
        ValueError: For a wrong argument, or other maps than ``aux_in_channels`` announces.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        drop_rate: float = 0.1,
        aux_in_channels: Sequence[int] | None = None,
        aux_loss_weight: float = 0.5,
        loss: dict | None = None,
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            init_cfg=init_cfg or dict(type='Normal', layer='Linear', std=0.01),
            loss=loss or dict(type='CrossEntropyLoss', loss_weight=1.0),
            topk=(topk,) if isinstance(topk, int) else tuple(topk),
            cal_acc=cal_acc,
        )
        if aux_in_channels is not None:
            check_positive('MGFFHead', many=True, aux_in_channels=aux_in_channels)
        self.aux_in_channels = tuple(aux_in_channels or ())
        self.aux_loss_weight = aux_loss_weight
        self.drop = nn.Dropout(drop_rate)
        self.auxiliary = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c, c, 1),
                nn.BatchNorm2d(c),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(c, num_classes),
            )
            for c in self.aux_in_channels
        )

    def forward(self, feats: Sequence[torch.Tensor]) -> torch.Tensor:
        """Classify the vector."""
        return self.fc(self.drop(self.pre_logits(feats)))

    def loss(self, feats: Sequence[torch.Tensor], data_samples: list[DataSample]) -> dict:
        """Compute ``loss`` and, with auxiliary classifiers, ``loss_aux``."""
        losses = super().loss(feats, data_samples)
        if self.auxiliary:
            scores = self.auxiliary_logits(feats)
            aux = sum(self._get_loss(score, data_samples)['loss'] for score in scores)
            losses['loss_aux'] = self.aux_loss_weight * aux
        return losses

    def auxiliary_logits(self, feats: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Classify each map: logits ``(N, num_classes)``.

        Raises:
            ValueError: There are other maps than ``aux_in_channels`` announces.
        """
        maps = feats[:-1]
        came = tuple(x.shape[1] for x in maps)
        if came != self.aux_in_channels:
            raise ValueError(
                f'MGFFHead: maps of {came} channels came before the vector, but '
                f'aux_in_channels={self.aux_in_channels} announces others; set return_maps=True in '
                'the neck and aux_in_channels to its embed_dims, once for each map'
            )
        return [classify(x) for classify, x in zip(self.auxiliary, maps, strict=True)]
