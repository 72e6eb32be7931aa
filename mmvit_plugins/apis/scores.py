"""What a segmentor says of each class: its scores as probabilities, and labels from them."""

from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ..errors import UserError


class Scores:
    """Reads the data samples of a segmentor, whatever its head computes.

    Heads of one channel per class give logits for a softmax, or, if their loss is a sigmoid, for
    one sigmoid each; heads of one channel give the probability of class 1 (mmsegmentation has
    computed its sigmoid), which is compared with their threshold; others, as Mask2Former's, give
    scores of their own.

    Args:
        model: The segmentor.

    Attributes:
        kind: ``'softmax'``, ``'sigmoid'``, ``'binary'`` or ``'scores'``.
    """

    def __init__(self, model: BaseModel) -> None:
        from mmseg.models.decode_heads.decode_head import BaseDecodeHead

        head = model.decode_head
        head = head[-1] if isinstance(head, torch.nn.ModuleList) else head  # of a cascade
        self.threshold = getattr(head, 'threshold', None)
        if not isinstance(head, BaseDecodeHead):
            self.kind = 'scores'
        elif head.out_channels == 1:
            self.kind = 'binary'
        else:
            losses: Any = head.loss_decode
            losses = losses if isinstance(losses, torch.nn.ModuleList) else [losses]
            sigmoid = all(getattr(loss, 'use_sigmoid', False) for loss in losses)
            self.kind = 'sigmoid' if sigmoid else 'softmax'

    def read(self, sample: Any) -> Tensor:
        """Return ``(K, H, W)`` float32 of a predicted sample; of a binary head ``(1, H, W)``."""
        logits = sample.seg_logits.data.float()
        if self.kind == 'softmax':
            return logits.softmax(0)
        return logits.sigmoid() if self.kind == 'sigmoid' else logits

    def label(self, scores: Tensor) -> Tensor:
        """Choose a class for each pixel, ``(K, H, W) -> (H, W)``, as mmsegmentation does."""
        if self.kind == 'binary':
            return (scores[0] > self.threshold).long()
        return scores.argmax(0)

    def check_probabilities(self) -> None:
        """Refuse to write what is none as probabilities.

        Raises:
            UserError: The head gives scores of its own.
        """
        if self.kind == 'scores':
            raise UserError(
                'the head of this model gives scores that are no probabilities: leave '
                '--save probabilities out'
            )

    def layers(self, scores: Tensor) -> Tensor:
        """Return what is written as probabilities, a layer for each class."""
        return torch.cat([1 - scores, scores]) if self.kind == 'binary' else scores
