"""ToPyramid: a pyramid from maps that are none, as detectors expect one.

AFFormer returns maps of strides 4, 8, 8, 8 and T2T-ViT's transformer a single one of stride 16,
while detectors work at 4, 8, 16, 32. mmdetection's necks keep the strides that they get. The step
up by transposed convolutions is that of the simple feature pyramid in Li et al., "Exploring Plain
Vision Transformer Backbones for Object Detection", ECCV 2022, arXiv:2203.16527; this is an
independent implementation. Differs: the step down is a learned convolution, not max pooling, and
each map has a source and channels of its own.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import nn

from ...registry import MODELS
from ..checks import check_maps, check_positive


class Rescale(nn.Sequential):
    """Bring a map from one stride to another by steps of two: ``(N, C, H, W) -> (N, C, h, w)``.

    A step up doubles the sides (transposed convolution, kernel 2), a step down halves them, rounded
    up (convolution, kernel 3); between steps there are a norm over all of a picture's values, which
    small batches of detectors suit, and GELU. Where the strides are equal nothing is done.

    Args:
        channels: C.
        in_stride: Stride of the map.
        out_stride: Stride to bring it to: the other one times a power of two.
    """

    def __init__(self, channels: int, in_stride: int, out_stride: int):
        down = out_stride > in_stride
        ratio = out_stride // in_stride if down else in_stride // out_stride
        layers: list[nn.Module] = []
        for _ in range(ratio.bit_length() - 1):
            if layers:
                layers += [nn.GroupNorm(1, channels), nn.GELU()]
            layers.append(
                nn.Conv2d(channels, channels, 3, 2, 1)
                if down
                else nn.ConvTranspose2d(channels, channels, 2, 2)
            )
        super().__init__(*layers)


@MODELS.register_module()
class ToPyramid(BaseModule):
    """Maps of any strides in, maps of the wanted strides out, to go before a detector's FPN.

    ``(N, C_i, H / in_i, W / in_i)`` become ``(N, C_j, H / out_j, W / out_j)``, each made from one
    of them and with its channels. Sides that a stride does not divide are rounded up where the map
    came rounded up; steps up double what came. It stands in a list of necks::

        neck = [
            dict(type='mmvit_plugins.ToPyramid', in_channels=(96, 176, 216, 216),
                 in_strides=(4, 8, 8, 8), out_strides=(4, 8, 16, 32)),
            dict(type='FPN', in_channels=[96, 176, 216, 216], out_channels=256, num_outs=5),
        ]

    Args:
        in_channels: Channels of each map, the backbone's ``out_channels``.
        in_strides: Stride of each map, the backbone's ``strides``.
        out_strides: Strides to make.
        sources: Which map each is made from; by default each from the map
            at its place, or all from the only one.
        init_cfg: mmengine's initialisation.

    Attributes:
        out_channels: Channels of each map that comes out.
        strides: The wanted strides.

    Raises:
        ValueError: For a wrong argument, naming what is allowed.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        out_strides: Sequence[int],
        sources: Sequence[int] | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_positive(
            'ToPyramid',
            many=True,
            in_channels=in_channels,
            in_strides=in_strides,
            out_strides=out_strides,
        )
        if len(in_channels) != len(in_strides):
            raise ValueError(
                f'ToPyramid: in_channels={in_channels} and in_strides={in_strides} must have one '
                'entry for each map'
            )
        if sources is None:
            sources = [0] * len(out_strides) if len(in_strides) == 1 else range(len(in_strides))
        if len(sources) != len(out_strides) or any(
            i not in range(len(in_strides)) for i in sources
        ):
            raise ValueError(
                f'ToPyramid: sources={list(sources)} must name one of the {len(in_strides)} maps, '
                f'counted from 0, for each of out_strides={out_strides}'
            )
        if unused := sorted(set(range(len(in_strides))) - set(sources)):
            raise ValueError(
                f'ToPyramid: sources={list(sources)} leaves out the maps {unused}, which would be '
                "made for nothing; take them out of the backbone's out_indices"
            )
        for source, stride in zip(sources, out_strides, strict=True):
            ratio = max(stride, in_strides[source]) / min(stride, in_strides[source])
            if not ratio.is_integer() or int(ratio).bit_count() != 1:
                raise ValueError(
                    f'ToPyramid: stride {stride} cannot be made from {in_strides[source]}, only '
                    'from one that is a power of two times larger or smaller'
                )
        self.in_channels = tuple(in_channels)
        self.sources = tuple(sources)
        self.out_channels = tuple(in_channels[i] for i in sources)
        self.strides = tuple(out_strides)
        self.steps = nn.ModuleList(
            Rescale(in_channels[source], in_strides[source], stride)
            for source, stride in zip(sources, out_strides, strict=True)
        )

    def forward(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Bring every map to its stride.

        Raises:
            ValueError: Other maps come than were announced.
        """
        check_maps('ToPyramid', inputs, self.in_channels)
        return tuple(
            step(inputs[source]) for step, source in zip(self.steps, self.sources, strict=True)
        )
