"""The object where a network's own last map is strongest: no second network, no second pass."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule

from ...registry import MODELS


@MODELS.register_module()
class ActivationLocalizer(BaseModule):
    """Add the channels of one of the classifier's maps: ``maps -> (N, h, w)``.

    Source: SCDA (Wei et al., IEEE TIP 26, 2017), which adds the activations of a map behind a ReLU.
    Other maps have negative values that would cancel positive ones; of such a map, the norm over
    the channels is taken instead of the sum. Which it is, each picture's own values decide.

    Args:
        index: Which of the backbone's maps; negative ones from the end.

    Attributes:
        needs_maps: True: it is called with the backbone's maps.

    Raises:
        ValueError: If ``index`` is no integer.
    """

    needs_maps = True

    def __init__(self, index: int = -1):
        super().__init__()
        if not isinstance(index, int):
            raise ValueError(f'ActivationLocalizer: index={index!r} must be the number of a map')
        self.index = index

    @torch.no_grad()
    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compute the response, in float32, with mean 1 (0 where all is 0).

        Raises:
            ValueError: If there is no such map, or what is there is no map ``(N, C, h, w)``.
        """
        if not -len(maps) <= self.index < len(maps):
            raise ValueError(
                f'ActivationLocalizer: index={self.index} came, but the backbone gives '
                f'{len(maps)} maps; choose from {-len(maps)}..{len(maps) - 1}'
            )
        x = maps[self.index]
        if not isinstance(x, torch.Tensor) or x.ndim != 4:
            shape = tuple(x.shape) if isinstance(x, torch.Tensor) else type(x).__name__
            raise ValueError(
                f'ActivationLocalizer: output {self.index} of the backbone is {shape}, but a map '
                '(N, C, h, w) is needed; let the backbone give maps, or use AttentionLocalizer'
            )
        x = x.float()
        rectified = x.amin(dim=(1, 2, 3)).ge(0)[:, None, None]
        response = torch.where(rectified, x.sum(dim=1), x.norm(dim=1))
        mean = response.mean(dim=(1, 2), keepdim=True)
        return response / mean.clamp(min=torch.finfo(mean.dtype).tiny)
