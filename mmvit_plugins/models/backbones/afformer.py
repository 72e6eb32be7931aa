"""AFFormer: head-free lightweight semantic segmentation with a linear transformer.

Paper: Dong, Wang, Wang, AAAI 2023, arXiv:2301.04648. Official code: github.com/dongbo811/AFFormer
(built on mmsegmentation 0.21; no licence file). This is an independent implementation with the same
numbers; the official checkpoint files load as they are.

Differs from the official code: what the blocks of a stage share is registered once; any head count
and filter windows are checked at construction; frozen stages, checkpointing and drop path work;
maps and tokens share one memory layout (channels last), so going from one to the other copies
nothing; ``switch_to_deploy`` folds what inference can do without.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...layers import (
    ConvMlp,
    ConvNormAct,
    DropPath,
    ResidualDepthwise,
    depthwise,
    drop_path_rates,
    init_weights,
)
from ...registry import MODELS
from ..checks import check_positive
from .base import Backbone

# Widths of the four stages, encoder blocks of each (stage 1 has none: its entry only takes a slot
# of the drop path schedule), heads, MLP ratio, heads per filter window.
_COMMON = {'num_heads': 8, 'mlp_ratio': 2, 'windows': {3: 2, 5: 3, 7: 3}}
ARCHS = {
    'tiny': {'embed_dims': (32, 64, 160, 216), 'depths': (1, 2, 4, 2), **_COMMON},
    'small': {'embed_dims': (32, 64, 176, 216), 'depths': (1, 2, 4, 2), **_COMMON},
    'base': {'embed_dims': (32, 96, 176, 216), 'depths': (1, 2, 6, 2), **_COMMON},
}
PIXEL_STRIDES = (1, 2, 1, 1)  # of each stage's first patch embedding, which gives the pixel map
PROTOTYPE_STRIDES = (1, 1, 2, 4)  # of the second, which gives the prototype map
POOL_SIZES = (1, 2, 3, 6)  # of the low-pass branch, a quarter of the channels each


class PatchEmbed(nn.Module):
    """Depthwise-separable convolution, norm, Hardswish: ``(N, C, H, W) -> (N, C, H/s, W/s)``."""

    def __init__(self, channels: int, stride: int, norm_cfg: dict | None):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
        self.pointwise = ConvNormAct(channels, channels, norm_cfg=norm_cfg, act=nn.Hardswish())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a map."""
        return self.pointwise(self.depthwise(x))


class PixelDescriptor(nn.Module):
    """Bottleneck that restores detail in the pixel map: ``(N, C, H, W) -> (N, C, H, W)``."""

    def __init__(self, channels: int, norm_cfg: dict | None):
        super().__init__()
        half = channels // 2
        self.reduce = ConvNormAct(channels, half, norm_cfg=norm_cfg, act=nn.Hardswish())
        self.depthwise = ConvNormAct(
            half, half, 3, groups=half, norm_cfg=norm_cfg, act=nn.Hardswish()
        )
        self.expand = ConvNormAct(half, channels, norm_cfg=norm_cfg)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the restored detail."""
        return x + self.expand(self.depthwise(self.reduce(x)))


class HighPass(nn.Module):
    """Depthwise filters of growing windows over groups of heads: ``(N, H, W, C) -> (N, H, W, C)``.

    Shared by the blocks of a stage.
    """

    def __init__(self, channels: int, num_heads: int, windows: dict):
        super().__init__()
        self.splits = [heads * channels // num_heads for heads in windows.values()]
        self.filters = nn.ModuleList(
            depthwise(width, window) for window, width in zip(windows, self.splits, strict=True)
        )

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """Filter each group of heads with its own window."""
        groups = v.permute(0, 3, 1, 2).split(self.splits, dim=1)
        out = [conv(group) for conv, group in zip(self.filters, groups, strict=True)]
        return torch.cat(out, dim=1).permute(0, 2, 3, 1)

    @torch.no_grad()
    def fuse(self) -> None:
        """Make one filter of the largest window of all: more products, but half the time."""
        largest = max(conv.padding[0] for conv in self.filters)
        fused = depthwise(sum(self.splits), 2 * largest + 1).to(self.filters[0].weight)
        weights = [F.pad(c.weight, [int(largest - c.padding[0])] * 4) for c in self.filters]
        fused.weight.copy_(torch.cat(weights))
        fused.bias.copy_(torch.cat([conv.bias for conv in self.filters]))
        self.filters, self.splits = nn.ModuleList([fused]), [sum(self.splits)]


def low_pass(v: torch.Tensor) -> torch.Tensor:
    """Average at four scales, a quarter of the channels each: ``(N, H, W, C) -> (N, H, W, C)``."""
    groups = v.permute(0, 3, 1, 2).chunk(len(POOL_SIZES), dim=1)
    out = [
        F.interpolate(F.adaptive_avg_pool2d(group, size), group.shape[2:], mode='bilinear')
        for group, size in zip(groups, POOL_SIZES, strict=True)
    ]
    return torch.cat(out, dim=1).permute(0, 2, 3, 1)


class AdaptiveFrequencyFilter(nn.Module):
    """The paper's mixer, linear in the number of tokens: ``(N, H, W, C) -> (N, H, W, C)``.

    ``q (softmax over tokens(k)^T v) d^-0.5  +  q * high_pass(v)  +  relu(low_pass(v))``, projected.
    """

    def __init__(self, channels: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.scale = (channels // num_heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.fused = False

    def similarity(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Frequency similarity kernel on ``(N, L, C)`` tokens: a d x d matrix for each head."""
        # The sum over tokens can be long: the softmax is float32 whatever autocast says.
        k = k.softmax(dim=1, dtype=torch.float32).to(v.dtype)
        # plain torch: in so small a network, einops takes a share of the time that can be measured
        q, k, v = (t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
        context = k.transpose(-2, -1) @ v * self.scale  # (N, h, d, d)
        return (q @ context).transpose(1, 2).flatten(-2)

    def forward(self, x: torch.Tensor, high_pass: nn.Module) -> torch.Tensor:
        """Mix the tokens of a map; ``high_pass`` is the stage's."""
        if self.fused:
            parts = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
            q, k, v = (F.linear(x, weight, bias) for weight, bias in parts)
        else:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            v = v.contiguous()  # once, instead of in each of the seven filters
        similar = self.similarity(*(t.flatten(1, 2) for t in (q, k, v))).view_as(v)
        return self.proj(torch.addcmul(similar, q, high_pass(v)) + low_pass(v).relu_())

    def fuse(self) -> None:
        """Project to q, k and v apart: three products, but none of their results is copied."""
        self.fused = True


class AFFormerBlock(nn.Module):
    """Pre-norm block of filter and MLP: ``(N, H, W, C) -> (N, H, W, C)``."""

    def __init__(self, channels: int, num_heads: int, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = AdaptiveFrequencyFilter(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = ConvMlp(channels, int(channels * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor, position: nn.Module, high_pass: nn.Module) -> torch.Tensor:
        """Run the block; ``position`` and ``high_pass`` belong to the stage."""
        x = position(x)
        x = x + self.drop_path(self.attn(self.norm1(x), high_pass))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class AFFormerStage(nn.Module):
    """Pixels, prototypes, encoder on the prototypes, fusion: ``(N, C, H, W) -> (N, C', H', W')``.

    Without blocks (stage 1) the two maps are only added.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        pixel_stride: int,
        prototype_stride: int,
        num_heads: int,
        mlp_ratio: float,
        windows: dict,
        drop_path: Sequence[float],
        norm_cfg: dict | None,
        with_cp: bool,
    ):
        super().__init__()
        self.with_cp = with_cp
        self.pixel_embed = PatchEmbed(channels, pixel_stride, norm_cfg)
        self.prototype_embed = PatchEmbed(channels, prototype_stride, norm_cfg)
        if drop_path:
            self.position = ResidualDepthwise(channels)
            self.high_pass = HighPass(channels, num_heads, windows)
        self.blocks = nn.ModuleList(
            AFFormerBlock(channels, num_heads, mlp_ratio, rate) for rate in drop_path
        )
        self.descriptor = PixelDescriptor(channels, norm_cfg)
        self.aggregate = ConvNormAct(channels, out_channels, norm_cfg=norm_cfg, act=nn.Hardswish())

    def encode(self, prototypes: torch.Tensor) -> torch.Tensor:
        """Run the blocks on a ``(N, C, H, W)`` map."""
        x = prototypes.permute(0, 2, 3, 1)
        for block in self.blocks:
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, self.position, self.high_pass, use_reentrant=False)
            else:
                x = block(x, self.position, self.high_pass)
        return x.permute(0, 3, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the stage."""
        pixels = self.pixel_embed(x)
        prototypes = self.prototype_embed(pixels)
        if not self.blocks:
            return self.aggregate(self.descriptor(pixels + prototypes))
        prototypes = self.encode(prototypes)
        if prototypes.shape[2:] != pixels.shape[2:]:
            prototypes = F.interpolate(
                prototypes, pixels.shape[2:], mode='bilinear', align_corners=True
            )
        return self.aggregate(self.descriptor(pixels) + prototypes)


@MODELS.register_module()
class AFFormer(Backbone):
    """AFFormer backbone: ``(N, C, H, W) -> tuple of (N, C_i, ceil(H / s_i), ceil(W / s_i))``.

    The strides are 4, 8, 8, 8: not a pyramid. Segmentation uses the last map; a detector that wants
    strides 4, 8, 16, 32 needs a neck that makes them.

    Args:
        arch: 'tiny', 'small', 'base', or a dict with ``embed_dims`` and ``depths``
            (four numbers each), ``num_heads``, ``mlp_ratio`` and ``windows`` (filter window ->
            number of heads). Widths must be multiples of ``num_heads`` and of 4; the windows' heads
            must add up to ``num_heads``; the first entry of ``depths`` builds nothing.
        in_channels: Channels of the input.
        out_indices: Stages to return, of 0..3.
        drop_path_rate: Rate of the last block; it grows linearly from 0.
        frozen_stages: -1 freezes nothing, 0 the stem, i the stem and the first i stages.
        norm_cfg: Batch norm of the convolutional parts: 'BN' or 'SyncBN'.
        norm_eval: Keep batch norms in eval mode while training.
        with_cp: Recompute the encoder blocks in the backward pass to save memory.
        allow_partial_load: See :class:`Backbone`.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of ours or of the authors.

    Raises:
        ValueError: For an unknown or inconsistent argument.
    """

    archs = ARCHS
    after_blocks = ('descriptor', 'aggregate')

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        allow_partial_load: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = self.resolve_arch(arch)
        dims, depths = arch['embed_dims'], arch['depths']
        self._check_arch(**arch)
        super().__init__(
            in_channels=in_channels,
            stage_channels=(*dims[1:], dims[-1]),
            stage_strides=(4, 8, 8, 8),
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            allow_partial_load=allow_partial_load,
            init_cfg=init_cfg,
        )
        self.depths = tuple(depths)
        self.stem = nn.Sequential(
            ConvNormAct(in_channels, dims[0] // 2, 3, 2, norm_cfg=norm_cfg, act=nn.Hardswish()),
            ConvNormAct(dims[0] // 2, dims[0], 3, 2, norm_cfg=norm_cfg, act=nn.Hardswish()),
        )
        rates = drop_path_rates(drop_path_rate, sum(depths))
        self.stages = nn.ModuleList(
            AFFormerStage(
                channels=dims[i],
                out_channels=self.stage_channels[i],
                pixel_stride=PIXEL_STRIDES[i],
                prototype_stride=PROTOTYPE_STRIDES[i],
                num_heads=arch['num_heads'],
                mlp_ratio=arch['mlp_ratio'],
                windows=arch['windows'],
                drop_path=rates[sum(depths[:i]) : sum(depths[: i + 1])] if i else (),
                norm_cfg=norm_cfg,
                with_cp=with_cp,
            )
            for i in range(4)
        )
        init_weights(self)
        self._freeze()

    @staticmethod
    def _check_arch(
        embed_dims: Sequence[int],
        depths: Sequence[int],
        num_heads: int,
        mlp_ratio: float,
        windows: dict,
    ) -> None:
        check_positive('AFFormer', entries=4, embed_dims=embed_dims, depths=depths)
        if sum(windows.values()) != num_heads:
            raise ValueError(
                f'AFFormer: windows={windows} share out {sum(windows.values())} heads, but '
                f'num_heads={num_heads}; the two must be equal'
            )
        if any(int(window) % 2 == 0 for window in windows):
            raise ValueError(f'AFFormer: windows={windows} must have odd sizes')
        wrong = [dim for dim in embed_dims[1:] if dim % num_heads or dim % len(POOL_SIZES)]
        if wrong or embed_dims[0] % 2:
            raise ValueError(
                f'AFFormer: embed_dims={tuple(embed_dims)} must be multiples of num_heads='
                f'{num_heads} and of {len(POOL_SIZES)} from the second on, and even in the first'
            )
        if mlp_ratio <= 0:
            raise ValueError(f'AFFormer: mlp_ratio={mlp_ratio} must be positive')

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the chosen stages' maps, in channels-last memory."""
        self.check_input(x)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
