"""Swin Transformer: hierarchical vision transformer using shifted windows.

Paper: Liu et al., ICCV 2021, arXiv:2103.14030. Official code:
github.com/microsoft/Swin-Transformer (MIT). This is an independent implementation with the same
numbers; the checkpoint files of the authors, of mmpretrain, mmsegmentation, mmdetection and of timm
load as they are.

Differs from the official code: any input size (see :class:`SwinTransformer`); patch merging opens a
stage instead of closing the one before; shift and partition are one gather whose places, like the
mask and in inference the sum of bias and mask, are cached from one picture to the next of its size.
"""

from collections.abc import Sequence
from math import isqrt

import torch
from einops import rearrange
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...layers import (
    Block,
    Cache,
    Mlp,
    PatchMerging,
    attention,
    ceil_div,
    crop,
    drop_path_rates,
    init_linears,
    pad_to_multiple,
    relative_position_bias,
    resize_table,
    statically_known,
    window_partition,
    window_reverse,
)
from ...registry import MODELS
from ..checks import check_options, check_positive
from .base import Backbone

_TINY = {
    'embed_dims': 96,
    'depths': (2, 2, 6, 2),
    'num_heads': (3, 6, 12, 24),
    'window_size': 7,
}
_SMALL = {**_TINY, 'depths': (2, 2, 18, 2)}
ARCHS = {
    'tiny': _TINY,
    'small': _SMALL,
    'base': {**_SMALL, 'embed_dims': 128, 'num_heads': (4, 8, 16, 32)},
    'large': {**_SMALL, 'embed_dims': 192, 'num_heads': (6, 12, 24, 48)},
    'tiny_c24': {**_TINY, 'num_heads': (4, 8, 16, 32), 'window_size': 8},
}
STRIDES = (4, 8, 16, 32)
MLP_RATIO = 4
MASKED = -100.0  # what the official code adds where two places of a window are no neighbours
SMALL_MAPS = ('shrink', 'pad')
LIMIT = 2**21  # most elements of a bias that a block keeps from one picture to the next


class ShiftedWindows:
    """Where the tokens of a map go when it is shifted and cut into windows.

    Args:
        sides: Height and width of the map.
        window: Side of a window; the map is filled up to multiples of it.
        shift: By how many places the map is rolled up and left before it is cut.
        device: Where the map is.

    Attributes:
        window: As given.
        shift: As given.
        filled: Whether the windows hold places that the map has not.
        mask: ``(windows, places, places)``: what is added to the attention of two places of a
            shifted window: 0, or -100 if they are neighbours only by the roll. None without shift.
    """

    def __init__(self, sides: Sequence[int], window: int, shift: int, device: torch.device):
        self.sides = sides
        self.window = window
        self.shift = shift
        self.count = [ceil_div(side, window) for side in sides]
        self.size = (window, window)
        rows, columns = (count * window for count in self.count)
        self.filled = not (
            statically_known(rows == sides[0]) and statically_known(columns == sides[1])
        )
        self.mask = self.order = self.places = None
        if not (shift or self.filled):
            return
        # order: which token of the full map stands in each place of the windows, one by one;
        # places: in which of these places each token of the map stands
        order = torch.arange(rows * columns, device=device).view(1, rows, columns, 1)
        rolled = torch.roll(order, (-shift, -shift), (1, 2))
        self.order = window_partition(rolled, self.count, self.size).flatten()
        order = order.view(1, self.count[0] * self.count[1], window**2, 1)
        places = window_reverse(order, self.count, self.size, (rows, columns))
        self.places = crop(torch.roll(places, (shift, shift), (1, 2)), sides).flatten()
        if not shift:
            return
        regions = torch.zeros(1, 1, 1, 1, dtype=torch.int32, device=device)
        for side, view in ((rows, (1, -1, 1, 1)), (columns, (1, 1, -1, 1))):
            place = torch.arange(side, device=device)
            band = (place >= side - window).int() + (place >= side - shift).int()
            regions = 3 * regions + band.view(view)
        regions = window_partition(regions, self.count, self.size).squeeze(-1).squeeze(0)
        apart = regions.unsqueeze(1) != regions.unsqueeze(2)
        self.mask = torch.zeros(apart.shape, device=device).masked_fill_(apart, MASKED)

    def partition(self, x: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
        """Shift and cut a map: ``(N, H, W, C) -> (N, windows, places, C)``.

        Places that the map has not hold ``fill``, ``(C,)``.
        """
        if self.order is None:
            return window_partition(x, self.count, self.size)
        if self.filled:
            every = fill.to(x.dtype).expand(x.shape[0], self.order.shape[0], -1)
            x = every.index_copy(1, self.places, x.flatten(1, 2))
        else:
            x = x.flatten(1, 2).index_select(1, self.order)
        return x.unflatten(1, (self.count[0] * self.count[1], self.window**2))

    def reverse(self, x: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`partition`: ``(N, H, W, C)``."""
        if self.order is None:
            return window_reverse(x, self.count, self.size, self.sides)
        return x.flatten(1, 2).index_select(1, self.places).unflatten(1, tuple(self.sides))


class WindowAttention(nn.Module):
    """Attention within windows, with a bias by relative position: ``(N, H, W, C)``, same shape."""

    def __init__(
        self, channels: int, num_heads: int, window: int, attn_drop_rate: float, drop_rate: float
    ):
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.attn_drop_rate = attn_drop_rate
        self.qkv = nn.Linear(channels, 3 * channels)
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(torch.zeros((2 * window - 1) ** 2, num_heads), std=0.02)
        )
        self.proj = nn.Linear(channels, channels)
        self.drop = nn.Dropout(drop_rate)
        self.cache = Cache(LIMIT)  # bias plus mask

    def bias(self, windows: ShiftedWindows) -> torch.Tensor:
        """Make what is added to the products: ``(h, L, L)``, or with a mask ``(W, h, L, L)``."""
        table = self.relative_position_bias_table
        bias = relative_position_bias(table, (self.window, self.window), windows.size)
        if windows.mask is None:
            return bias
        return bias + windows.mask.to(bias.dtype).unsqueeze(1)

    def forward(self, x: torch.Tensor, windows: ShiftedWindows) -> torch.Tensor:
        """Mix the tokens of each window; what fills windows up counts as zeros in ``x``."""
        if windows.filled:  # no products for zeros, of which only the layer's bias remains
            qkv = windows.partition(self.qkv(x), self.qkv.bias)
        else:
            qkv = self.qkv(windows.partition(x, self.qkv.bias))
        q, k, v = rearrange(qkv, 'n w l (qkv h d) -> qkv n w h l d', qkv=3, h=self.num_heads)
        drop = self.attn_drop_rate if self.training else 0.0
        if torch.is_grad_enabled():
            bias = self.bias(windows)
        else:
            table = self.relative_position_bias_table
            bias = self.cache(lambda: self.bias(windows), windows, table)
        out = attention(q, k, v, bias, dropout_p=drop)
        out = rearrange(out, 'n w h l d -> n w l (h d)')
        return self.drop(self.proj(windows.reverse(out)))


class Stem(nn.Module):
    """Patches of 4 x 4 pixels: ``(N, C, H, W) -> (N, ceil(H / 4), ceil(W / 4), C')``."""

    def __init__(self, in_channels: int, channels: int, drop_rate: float):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, STRIDES[0], STRIDES[0])
        self.norm = nn.LayerNorm(channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a picture, filled up with zeros to whole patches."""
        x = self.proj(pad_to_multiple(x, STRIDES[0])).permute(0, 2, 3, 1)
        return self.drop(self.norm(x))


class SwinStage(nn.Module):
    """Blocks: ``(N, H, W, C)``, same shape. Merging before them and the norm are called apart."""

    def __init__(
        self,
        merge: nn.Module,
        blocks: Sequence[nn.Module],
        norm: nn.Module,
        window: int,
        small_map: str,
        with_cp: bool,
    ):
        super().__init__()
        self.window = window
        self.small_map = small_map
        self.with_cp = with_cp
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.cache = Cache()  # windows

    def windows(self, x: torch.Tensor) -> tuple[ShiftedWindows, ShiftedWindows]:
        """Lay out the windows of even and odd blocks for a map ``(N, H, W, C)``."""
        sides = tuple(x.shape[1:3])
        return self.cache(lambda: self._lay_out(sides, x.device), sides, x.device, type(x))

    def _lay_out(
        self, sides: tuple[int, int], device: torch.device
    ) -> tuple[ShiftedWindows, ShiftedWindows]:
        window, shift = self.window, self.window // 2
        if self.small_map == 'shrink' and min(sides) <= window:
            window, shift = min(sides), 0
        even = ShiftedWindows(sides, window, 0, device)
        return even, ShiftedWindows(sides, window, shift, device) if shift else even

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the blocks on what ``merge`` has made of the stage before."""
        windows = self.windows(x)
        for i, block in enumerate(self.blocks):
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, windows[i % 2], use_reentrant=False)
            else:
                x = block(x, windows[i % 2])
        return x


@MODELS.register_module()
class SwinTransformer(Backbone):
    """Swin backbone: ``(N, C, H, W) -> tuple of (N, C_i, ceil(H / s_i), ceil(W / s_i))``.

    Up to four maps at strides 4, 8, 16, 32, each through a norm of its own and before the next
    merging.

    Any input size: pictures are filled up with zeros to whole patches, maps to whole windows (after
    the first norm of a block) and to even sides before merging, at the bottom and right. As in all
    the hosts, tokens attend to these zeros (which have the bias of the linear layer as key and
    value), so weights trained there keep their numbers.

    Maps that one window holds are where implementations differ, and weights notice:

    - 'shrink': where the shorter side is not larger than the window, windows shrink to it and
      nothing is shifted. So are the published classifiers trained (their last stage at 224x224 is
      one window of 7x7), and mmpretrain, timm and torchvision do likewise when a map is one window.
    - 'pad': always shifts and fills up to windows, as mmsegmentation and mmdetection do. So are
      their segmentors and detectors trained.

    Args:
        arch: 'tiny', 'small', 'base', 'large', 'tiny_c24', or a dict with
            ``embed_dims`` (channels of the first stage, which double from stage to stage),
            ``depths`` and ``num_heads`` (four numbers each) and ``window_size``.
        in_channels: Channels of the input.
        window_size: Side of a window in tokens; by default the variant's. The
            published models for 384x384 have 12.
        small_map: 'shrink' or 'pad', see above. By default 'shrink' where
            the last stage alone is returned, as for classification, otherwise 'pad'.
        out_indices: Stages to return, of 0..3; norms exist for these.
        out_after_downsample: Return stages 0 to 2 after the merging that follows them, as
            papers that count it to the stage do: channels 2, 4, 8, 8 C at strides 8, 16, 32, 32.
        drop_rate: Dropout after the embedding, projections and in the MLPs.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Rate of the last block; it grows linearly from 0.
        frozen_stages: -1 freezes nothing, 0 the stem, i the stem and the first i stages.
        with_cp: Recompute the blocks in the backward pass to save memory.
        allow_partial_load: See :class:`Backbone`.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of ours or any named above.

    Raises:
        ValueError: For an unknown or inconsistent argument.
    """

    archs = ARCHS
    input_layer = 'stem.proj.weight'
    # Classifiers have a norm after the last stage only.
    starts_fresh = ('stages.0.norm.', 'stages.1.norm.', 'stages.2.norm.')

    def __init__(
        self,
        arch: str | dict = 'tiny',
        in_channels: int = 3,
        window_size: int | None = None,
        small_map: str | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_after_downsample: bool = False,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        allow_partial_load: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = self.resolve_arch(arch)
        if window_size is not None:
            arch = {**arch, 'window_size': window_size}
        self._check_arch(**arch)
        check_options('SwinTransformer', small_map=(small_map, (*SMALL_MAPS, None)))
        channels = [arch['embed_dims'] * 2**i for i in range(4)]
        # which stage's merged tokens a stage returns
        outs = (1, 2, 3, 3) if out_after_downsample else (0, 1, 2, 3)
        super().__init__(
            in_channels=in_channels,
            stage_channels=[channels[i] for i in outs],
            stage_strides=[STRIDES[i] for i in outs],
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            norm_eval=False,
            allow_partial_load=allow_partial_load,
            init_cfg=init_cfg,
        )
        self.depths = tuple(arch['depths'])
        self.out_after_downsample = out_after_downsample
        if small_map is None:
            small_map = 'shrink' if self.out_indices == (3,) else 'pad'
        self.stem = Stem(in_channels, channels[0], drop_rate)
        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        window = arch['window_size']
        self.stages = nn.ModuleList()
        for i, (heads, depth) in enumerate(zip(arch['num_heads'], self.depths, strict=True)):
            blocks = []
            for _ in range(depth):
                attn = WindowAttention(channels[i], heads, window, attn_drop_rate, drop_rate)
                mlp = Mlp(channels[i], MLP_RATIO * channels[i], drop_rate)
                blocks.append(Block(channels[i], attn, mlp, next(rates)))
            merge = PatchMerging(channels[i - 1]) if i else nn.Identity()
            norm = nn.LayerNorm(channels[outs[i]]) if i in self.out_indices else nn.Identity()
            self.stages.append(SwinStage(merge, blocks, norm, window, small_map, with_cp))
        init_linears(self)
        self._freeze()

    @staticmethod
    def _check_arch(
        embed_dims: int, depths: Sequence[int], num_heads: Sequence[int], window_size: int
    ) -> None:
        check_positive('SwinTransformer', entries=4, depths=depths, num_heads=num_heads)
        check_positive('SwinTransformer', embed_dims=embed_dims, window_size=window_size)
        if any(embed_dims * 2**i % heads for i, heads in enumerate(num_heads)):
            raise ValueError(
                f'SwinTransformer: embed_dims={embed_dims}, doubled from stage to stage, must be '
                f'multiples of num_heads={tuple(num_heads)}'
            )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the chosen stages' maps, in channels-last memory."""
        self.check_input(x)
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage.merge(x)
            if self.out_after_downsample and i - 1 in self.out_indices:
                outs.append(self.stages[i - 1].norm(x))
            x = stage(x)
            if i in self.out_indices and (i == 3 or not self.out_after_downsample):
                outs.append(stage.norm(x))
        return tuple(out.permute(0, 3, 1, 2) for out in outs)

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize a table of another window; see :class:`Backbone` for the input layer."""
        if not name.endswith('relative_position_bias_table'):
            return super().adapt_tensor(name, value, like)
        side, wanted = (isqrt(table.shape[0]) for table in (value, like))
        if value.ndim != 2 or side**2 != value.shape[0] or value.shape[1] != like.shape[1]:
            return None
        table = resize_table(value.float().view(1, side, side, -1), wanted, wanted)
        return table.reshape(like.shape)
