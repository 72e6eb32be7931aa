"""SG-Former: self-guided transformer with evolving token reallocation.

Paper: Ren, Yang, Liu, Wang, ICCV 2023, arXiv:2308.12216. Official code:
github.com/OliverRensu/SG-Former (classification at 224x224 only; no licence file). This is an
independent implementation with the same numbers; the official checkpoint files load as they are.

Differs from the official code: any input size (see :class:`SGFormer`); the token order is computed
once (the official network sorts the map and its transpose, which gives the same order) and sorted
stably, so ties are deterministic; importance is float32 under autocast; linear layers that read the
same input are one layer; attention is fused, and its matrix exists only where its column means are
needed, in blocks of queries.
"""

from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...layers import (
    ConvMlp,
    DropPath,
    attention,
    ceil_div,
    crop,
    depthwise,
    drop_path_rates,
    init_weights,
    resize_table,
    statically_known,
    window_partition,
    window_reverse,
)
from ...registry import MODELS
from ..checks import check_options, check_positive, check_size
from .base import Backbone

_SMALL = {'embed_dims': (64, 128, 256, 512), 'num_heads': (2, 4, 8, 16)}
_BASE = {'embed_dims': (96, 192, 384, 768), 'num_heads': (4, 6, 12, 24)}
ARCHS = {
    'small': {**_SMALL, 'depths': (2, 4, 16, 1), 'mlp_ratio': 4},
    'medium': {**_SMALL, 'depths': (2, 6, 28, 2), 'mlp_ratio': 4},
    'base': {**_BASE, 'depths': (4, 6, 24, 2), 'mlp_ratio': 4},
}
STRIDES = (4, 8, 16, 32)
WINDOW = 7  # keys along a side of a window
SR_RATIOS = (8, 4, 2)  # tokens along a side of a coarse key, in stages 1 to 3
# Regions of stages 1 to 3, the least important first: (share of the tokens, tokens merged into one)
REGIONS = (((1, 196), (2, 56), (1, 28)), ((1, 49), (2, 14), (1, 7)), ((1, 2), (1, 1)))
BLOCK = 2**24  # most attention weights that are held at once where their means are needed


class Guidance(NamedTuple):
    """What steers a stage's self-guided blocks, one map for each of its hybrid-scale blocks.

    Attributes:
        importance: ``(N, blocks, H, W)``, float32: the attention that a token receives, averaged
            over heads and queries, coarse plus fine. Its mean is about 2 / 49.
        regions: ``(N, blocks, H, W)``, int64: 0 for the least important tokens, which are merged
            hardest, up to 2 (in stage 3: 1) for the salient ones.
    """

    importance: torch.Tensor
    regions: torch.Tensor


class Windows:
    """How maps of queries and keys are cut alike: windows of at most 7 x 7 keys, of equal size.

    A key covers ``ratio`` x ``ratio`` queries. Where sizes do not divide, the windows reach over
    the bottom and right edges; what lies there is no key, and no query that counts.

    Args:
        x: A map ``(N, H, W, C)`` of the queries' size.
        ratio: Queries along a side of a key.
        limit: Most keys along a side; ``None`` makes one window of the whole map.

    Attributes:
        count: Windows along the height and the width.
        size: Keys of a window along the height and the width.
        query_size: Queries likewise.
        mask: ``(N * windows, 1, 1, keys)``, True where there is a key; ``None`` if everywhere.
        query_share: ``(N * windows, 1, 1, queries)``, weights that average over what is a query;
            ``None`` if everything is.
        fill: ``(N * windows, 1)`` keys of a window over 49, or one number.
    """

    def __init__(self, x: torch.Tensor, ratio: int, limit: int | None):
        sides = x.shape[1:3]
        keys = [ceil_div(side, ratio) for side in sides]
        self.count = [1 if limit is None else ceil_div(side, limit) for side in keys]
        self.size = [ceil_div(side, count) for side, count in zip(keys, self.count, strict=True)]
        self.query_size = [size * ratio for size in self.size]
        self.mask = self.query_share = None
        self.fill = self.size[0] * self.size[1] / WINDOW**2
        real = self._inside(x, keys, self.size)
        if real is not None:
            self.mask = real[:, None, None] > 0
            self.fill = real.sum(1, keepdim=True) / WINDOW**2
        real = self._inside(x, sides, self.query_size)
        if real is not None:
            self.query_share = (real / real.sum(1, keepdim=True))[:, None, None]

    def _inside(
        self, x: torch.Tensor, sides: Sequence[int], size: Sequence[int]
    ) -> torch.Tensor | None:
        """Mark the places inside the map, 1 or 0: ``(N * windows, places)``; None if all are."""
        if all(
            statically_known(n * s == side)
            for n, s, side in zip(self.count, size, sides, strict=True)
        ):
            return None
        dtype = torch.promote_types(x.dtype, torch.float32)
        places = torch.ones(1, *sides, 1, dtype=dtype, device=x.device)
        return self.partition(places, size).squeeze(-1).repeat(x.shape[0], 1)

    def partition(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """Cut a map ``(N, H, W, C)`` into windows of ``size``: ``(N * windows, places, C)``."""
        return window_partition(x, self.count, size).flatten(0, 1)

    def reverse(self, x: torch.Tensor, size: Sequence[int], sides: Sequence[int]) -> torch.Tensor:
        """Undo :meth:`partition` for a map of ``sides``: ``(N, H, W, C)``."""
        windows = x.unflatten(0, (-1, self.count[0] * self.count[1]))
        return window_reverse(windows, self.count, size, sides)


def attend(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    windows: Windows,
    num_heads: int,
    rescale: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend within windows, and tell how much attention each key receives.

    Args:
        q: Map ``(N, H, W, C)`` of queries.
        k: Map ``(N, h, w, C)`` of keys, and ``v`` of values.
        v: See ``k``.
        windows: Made for a map of q's size.
        num_heads: Number of heads.
        rescale: Multiply the means by the window's number of keys over 49, so that a key
            receives 1 / 49 on average however full its window is.

    Returns:
        The mixed map ``(N, H, W, C)`` and the means ``(N, h, w)``, float32.
    """
    queries = windows.partition(q, windows.query_size)
    keys, values = (windows.partition(t, windows.size) for t in (k, v))
    queries, keys, values = (
        rearrange(t, 'b l (h d) -> b h l d', h=num_heads) for t in (queries, keys, values)
    )
    out, received = attention_and_means(queries, keys, values, windows.mask, windows.query_share)
    if rescale:
        received = received * windows.fill
    return (
        windows.reverse(rearrange(out, 'b h l d -> b l (h d)'), windows.query_size, q.shape[1:3]),
        windows.reverse(received.unsqueeze(-1), windows.size, k.shape[1:3]).squeeze(-1),
    )


def attention_and_means(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    mask: torch.Tensor | None = None,
    query_share: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend, and average the attention weights that each key receives over heads and queries.

    At most ``BLOCK`` weights exist at once, in float32 whatever autocast says: half precision would
    overflow on large activations, and make many importances equal. No gradient flows through the
    averages, and no weight is kept for the backward pass: where there is one, fused attention does
    the mixing and this goes over the weights a second time.

    Args:
        q: ``(B, h, L, d)``.
        k: ``(B, h, K, d)``.
        v: As ``k``.
        mask: ``(B, 1, 1, K)``, False for what is no key.
        query_share: ``(B, 1, 1, L)``, weights of the queries in the average.

    Returns:
        ``(B, h, L, d)`` in v's type, and ``(B, K)`` in float32 (or float64).
    """
    fused = torch.is_grad_enabled()
    mixed = [attention(q, k, v, mask)] if fused else []
    dtype = torch.promote_types(q.dtype, torch.float32)
    batch, heads, length, width = q.shape
    per_query = batch * heads * k.shape[2]
    starts, step = (0,), length
    if statically_known(length * per_query > BLOCK):
        step = max(1, BLOCK // per_query)
        starts = range(0, length, step)
    with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
        k = k.to(dtype).transpose(-2, -1) * width**-0.5
        means: Any = 0
        for start in starts:
            weights = q[:, :, start : start + step].to(dtype) @ k
            if mask is not None:
                weights = weights.masked_fill(~mask, -torch.inf)
            weights = weights.softmax(dim=-1)
            if query_share is None:
                means = means + weights.sum(dim=(1, 2)) / (heads * length)
            else:
                share = query_share[..., start : start + step].expand(-1, heads, -1, -1)
                means = means + (share @ weights).sum(dim=(1, 2)) / heads
            if not fused:
                mixed.append(weights.to(v.dtype) @ v)
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=2), means


def token_order(importance: torch.Tensor) -> torch.Tensor:
    """Sort tokens, the least important first: ``(N, H, W) -> (N, H * W)``; ties in place order."""
    return importance.flatten(1).argsort(dim=1, stable=True)


def region_sizes(tokens: int, regions: Sequence[tuple[int, int]]) -> list[int]:
    """Number of tokens in each region; what does not divide goes to the most important."""
    unit = tokens // sum(share for share, _ in regions)
    sizes = [share * unit for share, _ in regions]
    sizes[-1] += tokens - sum(sizes)
    return sizes


def groups_at_224(stage: int) -> list[int]:
    """Number of merged tokens of each region in a stage (0 to 3) at 224x224; none in the last."""
    tokens = (224 // STRIDES[stage]) ** 2
    regions = REGIONS[stage] if stage < len(REGIONS) else ()
    sizes = region_sizes(tokens, regions) if regions else ()
    return [length // size for length, (_, size) in zip(sizes, regions, strict=True)]


def stretch(weights: torch.Tensor, length: int, slots: int) -> torch.Tensor:
    """Spread weights over another number of tokens, keeping their sum: ``(r,) -> (slots,)``.

    A group is an interval that r weights share equally, and so do its ``length`` tokens: a token
    gets of each weight the part that lies over it; a slot beyond them gets nothing.
    """
    size = weights.shape[0]
    options = {'dtype': torch.promote_types(weights.dtype, torch.float32), 'device': weights.device}
    edge = torch.arange(size, **options)
    start = torch.arange(slots, **options)[:, None] * (size / length)
    overlap = torch.minimum(start + size / length, edge + 1) - torch.maximum(start, edge)
    return overlap.clamp(min=0).to(weights.dtype) @ weights


def merge_groups(
    tokens: torch.Tensor, order: torch.Tensor, layer: nn.Linear, groups: int
) -> torch.Tensor:
    """Merge tokens in consecutive groups of an order: ``(N, L, C), (N, M) -> (N, groups, C)``.

    The groups are as equal as can be, the longer ones first, so that each of the M tokens counts in
    exactly one. ``layer`` holds the weights of a group; :func:`stretch` fits them to its length.
    """
    batch, length, channels = tokens.shape
    size, longer = order.shape[1] // groups, order.shape[1] % groups
    weights = layer.weight
    if statically_known(longer == 0):
        slots = size
    else:
        slots = ceil_div(order.shape[1], groups)
        group = torch.arange(groups, device=order.device)[:, None]
        place = torch.arange(slots, device=order.device)
        # the last slot of a shorter group is no token of it: any will do, its weight is zero
        first = group * size + group.clamp(max=longer)
        order = order[:, (first + place).clamp(max=order.shape[1] - 1).flatten()]
    if not (statically_known(longer == 0) and statically_known(size == weights.shape[1])):
        long, short = (stretch(weights[0], n, slots) for n in (size + 1, size))
        weights = (
            short[None]
            if statically_known(longer == 0)
            else torch.where(group < longer, long, short)
        )
    rows = order + torch.arange(batch, device=order.device)[:, None] * length
    rows = tokens.flatten(0, 1).index_select(0, rows.flatten())
    weights = weights.expand(batch, groups, slots).reshape(batch * groups, 1, slots)
    merged = weights @ rows.view(batch * groups, slots, channels)
    return merged.view(batch, groups, channels) + layer.bias


class LePE(nn.Module):
    """Locally enhanced positional encoding: linear, 3x3 depthwise: ``(N, H, W, C)``, same shape."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.conv = depthwise(channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Look at the neighbours."""
        return self.conv(self.linear(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class HybridScaleAttention(nn.Module):
    """Half of the heads on coarse keys, half on windows of tokens: ``(N, H, W, C)``, same shape.

    Makes the importance map ``(N, H, W)`` that the next block is guided by; no gradient flows
    through it.
    """

    def __init__(self, channels: int, num_heads: int, sr_ratio: int, rescale_importance: bool):
        super().__init__()
        self.half_heads = num_heads // 2
        self.sr_ratio = sr_ratio
        self.rescale_importance = rescale_importance
        self.qkv = nn.Linear(channels, 2 * channels)  # coarse q, fine q, fine k, fine v
        self.sr = nn.Conv2d(channels, channels, sr_ratio, sr_ratio)
        self.sr_norm = nn.LayerNorm(channels)
        self.act = nn.GELU()
        self.coarse_kv = nn.Linear(channels, channels)
        self.lepe = LePE(channels)
        self.proj = nn.Linear(channels, channels)

    def coarse_keys(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Make keys and values of cells of tokens: ``(N, ceil(H / R), ceil(W / R), C / 2)`` each.

        A cell that reaches over an edge is filled up with the edge's tokens.
        """
        for dim in (1, 2):
            side = x.shape[dim]
            padded = ceil_div(side, self.sr_ratio) * self.sr_ratio
            if not statically_known(padded == side):
                # not F.pad, whose replicating backward breaks in compiled training (torch 2.12)
                places = torch.arange(padded, device=x.device).clamp(max=side - 1)
                x = x.index_select(dim, places)
        x = self.sr(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.act(self.sr_norm(x))
        return self.coarse_kv(x).chunk(2, dim=-1)

    def forward(
        self, x: torch.Tensor, importance: None, windows: Sequence[Windows]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix a map and make its importance; ``windows`` are the coarse and the fine ones."""
        coarse_q, q, k, v = self.qkv(x).chunk(4, dim=-1)
        coarse_k, coarse_v = self.coarse_keys(x)
        options = (self.half_heads, self.rescale_importance)
        coarse, cells = attend(coarse_q, coarse_k, coarse_v, windows[0], *options)
        fine, importance = attend(q, k, v, windows[1], *options)
        cells = cells.repeat_interleave(self.sr_ratio, 1).repeat_interleave(self.sr_ratio, 2)
        out = self.proj(torch.cat((coarse, fine), dim=-1) + self.lepe(x))
        return out, importance + crop(cells, x.shape[1:3])


class SelfGuidedAttention(nn.Module):
    """Attention to merged tokens, the less important the fewer: ``(N, H, W, C)``, same shape.

    Without regions (stage 4) the keys are the tokens themselves, averaged to at most ``kv_cap``.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        regions: Sequence[tuple[int, int]],
        max_groups: Sequence[int] | None,
        kv_cap: int | None,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.regions = regions
        self.max_groups = max_groups
        self.kv_cap = kv_cap
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.merge = nn.ModuleList(nn.Linear(size, 1) for _, size in regions)
        self.lepe = LePE(channels)
        self.proj = nn.Linear(channels, channels)

    def merged(self, x: torch.Tensor, importance: torch.Tensor) -> torch.Tensor:
        """Merge the tokens of each region, the least important first: ``(N, T, C)``."""
        tokens, order, parts = x.flatten(1, 2), token_order(importance), []
        for i, part in enumerate(order.split(region_sizes(order.shape[1], self.regions), dim=1)):
            if part.shape[1]:  # a map of less than four tokens has empty regions
                groups = max(part.shape[1] // self.regions[i][1], 1)
                if self.max_groups is not None:
                    groups = min(groups, self.max_groups[i])
                parts.append(merge_groups(tokens, part, self.merge[i], groups))
        return torch.cat(parts, dim=1)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Average the tokens to at most ``kv_cap``: ``(N, L, C)``."""
        height, width = x.shape[1:3]
        if self.kv_cap is not None and height * width > self.kv_cap:
            # of the map's proportions, but a long map still gets one row
            rows = min(max(isqrt(self.kv_cap * height // width), 1), self.kv_cap)
            size = (rows, min(self.kv_cap // rows, width))
            x = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
        return x.flatten(1, 2)

    def forward(
        self, x: torch.Tensor, importance: torch.Tensor | None, windows: Sequence[Windows]
    ) -> tuple[torch.Tensor, None]:
        """Mix a map; the importance is used up, the windows do not matter."""
        source = self.merged(x, importance) if self.regions else self.pooled(x)
        q = rearrange(self.q(x), 'n y x (h d) -> n h (y x) d', h=self.num_heads)
        k, v = rearrange(self.kv(source), 'n l (kv h d) -> kv n h l d', kv=2, h=self.num_heads)
        out = rearrange(attention(q, k, v), 'n h l d -> n l (h d)').view(x.shape)
        return self.proj(out + self.lepe(x)), None


class SGFormerBlock(nn.Module):
    """Pre-norm block of an attention and an MLP: ``(N, H, W, C)``, same shape.

    Takes and returns the importance beside the map: a hybrid-scale block makes it, the self-guided
    block after it uses it up.
    """

    def __init__(self, channels: int, attn: nn.Module, mlp_ratio: float, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = attn
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = ConvMlp(channels, int(channels * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: torch.Tensor, importance: torch.Tensor | None, windows: Sequence[Windows]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Run the block; the windows are the stage's."""
        out, importance = self.attn(self.norm1(x), importance, windows)
        x = x + self.drop_path(out)
        return x + self.drop_path(self.mlp(self.norm2(x))), importance


def conv_norm(
    in_channels: int, out_channels: int, window: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Convolution without bias, and a norm over all channels and places of a picture."""
    conv = nn.Conv2d(
        in_channels, out_channels, window, stride, window // 2, groups=groups, bias=False
    )
    return [conv, nn.GroupNorm(1, out_channels)]


def sin_cos_table(rows: int, columns: int, channels: int) -> torch.Tensor:
    """Make a table ``(1, rows, columns, channels)``: a half for the column, then one for the row.

    Each half holds sines, then cosines, of the frequencies ``10000^(-i / (channels / 4))``.
    """
    quarter = channels // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    halves = []
    for length, view in ((columns, (1, columns)), (rows, (rows, 1))):
        angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
        half = torch.cat((angles.sin(), angles.cos()), dim=1)
        halves.append(half.view(*view, -1).expand(rows, columns, -1))
    return torch.cat(halves, dim=-1)[None].to(torch.get_default_dtype())


class Stem(nn.Module):
    """Three convolutions, norm, position table: ``(N, C, H, W) -> (N, H / 4, W / 4, C')``."""

    def __init__(self, in_channels: int, channels: int, table_size: Sequence[int]):
        super().__init__()
        self.convs = nn.Sequential(
            *conv_norm(in_channels, channels, 3, 2),
            nn.GELU(),
            *conv_norm(channels, channels, 3),
            nn.GELU(),
            *conv_norm(channels, channels, 3, 2),
        )
        self.norm = nn.LayerNorm(channels)
        self.pos_embed = nn.Parameter(sin_cos_table(table_size[0], table_size[1], channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed a picture; the table is resized to the map."""
        x = self.convs(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)
        return self.norm(x) + resize_table(self.pos_embed, *x.shape[1:3])


def merging(in_channels: int, out_channels: int) -> nn.Sequential:
    """Merge patches: ``(N, C, H, W) -> (N, C', H / 2, W / 2)``, sizes rounded up."""
    return nn.Sequential(
        *conv_norm(in_channels, out_channels, 1),
        nn.GELU(),
        *conv_norm(out_channels, out_channels, 3, 2, groups=out_channels),
        nn.GELU(),
        *conv_norm(out_channels, out_channels, 1),
    )


class SGFormerStage(nn.Module):
    """Merging, blocks, norm: ``(N, H, W, C) -> (N, H', W', C')``, and the importance maps made."""

    def __init__(
        self,
        embed: nn.Module,
        blocks: Sequence[nn.Module],
        channels: int,
        windows: Sequence[tuple[int, int | None]],
        with_cp: bool,
    ):
        super().__init__()
        self.windows = windows  # ratio and limit of each kind
        self.with_cp = with_cp
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Run the stage."""
        x = self.embed(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        windows = [Windows(x, *options) for options in self.windows]
        importance, maps = None, []
        for block in self.blocks:
            if self.with_cp and x.requires_grad:
                x, importance = checkpoint(block, x, importance, windows, use_reentrant=False)
            else:
                x, importance = block(x, importance, windows)
            if importance is not None:
                maps.append(importance)
        return self.norm(x), maps


@MODELS.register_module()
class SGFormer(Backbone):
    """SG-Former backbone: ``(N, C, H, W) -> tuple of (N, C_i, ceil(H / s_i), ceil(W / s_i))``.

    Four maps at strides 4, 8, 16, 32, each normalised. In stages 1 to 3 blocks come in pairs: a
    hybrid-scale block computes the importance of every token, the self-guided block after it
    attends to tokens that were merged according to it. :meth:`guidance` hands both out.

    At 224x224 the outputs are the official ones. At any other size, nothing is padded at the
    picture, and the number of tokens stays H x W:

    - The position table is resized bicubically.
    - Windows are of equal size, at most 7 x 7 keys, as few as possible. Those at the bottom and
      right edges may reach over the map; what lies there is masked as a key and, as a query, counts
      neither in the output nor in the importance.
    - The coarse keys' cells that reach over an edge are filled up with the edge's tokens. With
      ``coarse='window'`` they are cut into windows of at most 7 x 7 cells, as the paper has it; at
      224 there is one.
    - The importance of a key is multiplied by its window's number of keys over 49.
    - A region that does not divide into groups of r tokens is cut into groups as equal as possible,
      over which the r weights are stretched; there are at most ``kv_cap`` times as many groups as
      at 224, so the cost is linear in the number of pixels.

    The official code's own rules, which only some sizes meet (multiples of 224), are
    ``coarse='global', kv_cap=None, last_kv_cap=None, rescale_importance=False``; their cost is
    quadratic.

    The norms of stem and merging run over the whole map: a picture's features depend on how it is
    padded into a batch.

    Args:
        arch: 'small', 'medium', 'base', or a dict with ``embed_dims``, ``num_heads`` and ``depths``
            (four numbers each) and ``mlp_ratio``. The heads must divide the widths; heads and
            depths of the first three stages must be even, the first width a multiple of 4.
        in_channels: Channels of the input.
        img_size: Height and width that the position table is made for; it fixes no input size.
        out_indices: Stages to return, of 0..3.
        drop_path_rate: Rate of the last block; it grows linearly from 0.
        coarse: 'window' or 'global' coarse keys.
        kv_cap: Most merged tokens, in multiples of those at 224; ``None`` for as
            many as the size gives.
        last_kv_cap: Most keys of stage 4, which attends to all tokens of stride 32;
            more are averaged. ``None`` for no limit.
        rescale_importance: Weigh importance by how full a window is.
        frozen_stages: -1 freezes nothing, 0 the stem, i the stem and the first i stages.
        with_cp: Recompute the blocks in the backward pass to save memory.
        allow_partial_load: See :class:`Backbone`.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of ours or of the authors.

    Raises:
        ValueError: For an unknown or inconsistent argument.
    """

    archs = ARCHS
    input_layer = 'stem.convs.0.weight'

    def __init__(
        self,
        arch: str | dict = 'small',
        in_channels: int = 3,
        img_size: int | Sequence[int] = 224,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        coarse: str = 'window',
        kv_cap: int | None = 4,
        last_kv_cap: int | None = 2048,
        rescale_importance: bool = True,
        frozen_stages: int = -1,
        with_cp: bool = False,
        allow_partial_load: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = self.resolve_arch(arch)
        self._check_arch(**arch)
        check_options('SGFormer', coarse=(coarse, ('window', 'global')))
        caps = {'kv_cap': kv_cap, 'last_kv_cap': last_kv_cap}  # None: no limit
        check_positive('SGFormer', **{k: cap for k, cap in caps.items() if cap is not None})
        sides = check_size('SGFormer', 'img_size', img_size)
        dims, depths = arch['embed_dims'], arch['depths']
        super().__init__(
            in_channels=in_channels,
            stage_channels=dims,
            stage_strides=STRIDES,
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            norm_eval=False,
            allow_partial_load=allow_partial_load,
            init_cfg=init_cfg,
        )
        self.depths = tuple(depths)
        self.stem = Stem(in_channels, dims[0], [ceil_div(side, STRIDES[0]) for side in sides])
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.stages = nn.ModuleList()
        for i, (channels, heads, depth) in enumerate(
            zip(dims, arch['num_heads'], depths, strict=True)
        ):
            regions = REGIONS[i] if i < 3 else ()
            limits = None if kv_cap is None else [kv_cap * n for n in groups_at_224(i)]
            coarse_limit = WINDOW if coarse == 'window' else None
            windows = [(SR_RATIOS[i], coarse_limit), (1, WINDOW)] if i < 3 else []
            blocks = []
            for j in range(depth):
                if i < 3 and j % 2 == 0:
                    attn = HybridScaleAttention(channels, heads, SR_RATIOS[i], rescale_importance)
                else:
                    attn = SelfGuidedAttention(channels, heads, regions, limits, last_kv_cap)
                blocks.append(SGFormerBlock(channels, attn, arch['mlp_ratio'], next(rates)))
            self.stages.append(
                SGFormerStage(
                    merging(dims[i - 1], channels) if i else nn.Identity(),
                    blocks,
                    channels,
                    windows,
                    with_cp,
                )
            )
        init_weights(self)
        self._freeze()

    @staticmethod
    def _check_arch(
        embed_dims: Sequence[int],
        num_heads: Sequence[int],
        depths: Sequence[int],
        mlp_ratio: float,
    ) -> None:
        numbers = {'embed_dims': embed_dims, 'num_heads': num_heads, 'depths': depths}
        check_positive('SGFormer', entries=4, **numbers)
        if any(dim % heads for dim, heads in zip(embed_dims, num_heads, strict=True)):
            raise ValueError(
                f'SGFormer: embed_dims={tuple(embed_dims)} must be multiples of num_heads='
                f'{tuple(num_heads)}, stage by stage'
            )
        if any(heads % 2 for heads in num_heads[:3]):
            raise ValueError(
                f'SGFormer: num_heads={tuple(num_heads)} must be even in the first three stages: '
                'half of the heads look at coarse keys, half at windows'
            )
        if any(depth % 2 for depth in depths[:3]):
            raise ValueError(
                f'SGFormer: depths={tuple(depths)} must be even in the first three stages: a '
                'hybrid-scale block is followed by a self-guided one'
            )
        if embed_dims[0] % 4 or mlp_ratio <= 0:
            raise ValueError(
                f'SGFormer: embed_dims={tuple(embed_dims)} must begin with a multiple of 4 (the '
                f'position table has four parts) and mlp_ratio={mlp_ratio} be positive'
            )

    def _run(self, x: torch.Tensor) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
        """Compute all stages' maps ``(N, H, W, C)`` and the importance maps of each."""
        self.check_input(x)
        x = self.stem(x)
        outs, importances = [], []
        for stage in self.stages:
            x, maps = stage(x)
            outs.append(x)
            importances.append(maps)
        return outs, importances

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the chosen stages' maps, in channels-last memory."""
        outs, _ = self._run(x)
        return tuple(outs[i].permute(0, 3, 1, 2) for i in self.out_indices)

    @torch.no_grad()
    def guidance(self, x: torch.Tensor) -> list[Guidance]:
        """Hand out what guides the blocks of stages 1 to 3, in the mode the model is in.

        Args:
            x: As for ``forward``: ``(N, C, H, W)``, preprocessed.

        Returns:
            For each of the three stages its importance maps and regions,
            ``(N, hybrid-scale blocks, ceil(H / s), ceil(W / s))`` with s = 4, 8, 16.
        """
        _, importances = self._run(x)
        guidance = []
        for maps, regions in zip(importances[:3], REGIONS, strict=True):
            sizes = region_sizes(maps[0][0].numel(), regions)
            labels = torch.arange(len(sizes), device=x.device).repeat_interleave(
                torch.tensor(sizes, device=x.device)
            )
            places = []
            for importance in maps:
                order = token_order(importance)
                place = torch.empty_like(order).scatter_(1, order, labels.expand_as(order))
                places.append(place.view_as(importance))
            guidance.append(Guidance(torch.stack(maps, dim=1), torch.stack(places, dim=1)))
        return guidance

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize a position table of another size; see :class:`Backbone` for the input layer."""
        if name == 'stem.pos_embed' and value.ndim == 4 and value.shape[3] == like.shape[3]:
            return resize_table(value.float(), *like.shape[1:3])
        return super().adapt_tensor(name, value, like)
