"""MGFF: multi-granularity feature fusion, a neck for any backbone that returns maps.

Source: Xu et al., "Two-stage fine-grained image classification model based on multi-granularity
feature fusion", Pattern Recognition 146 (2024) 110042. The paper has no code, and leaves open how
maps are concatenated, the form of the graph, residuals and norms; its ancestor PIM
(arXiv:2202.03822) answers some of that. What is the paper's, PIM's or a choice of ours is listed in
``configs/mgff/README.md``; each reading is an argument of :class:`MGFF`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from mmengine.model import BaseModule
from torch import nn

from ...layers import (
    Cache,
    SqueezeExcite,
    attention,
    ceil_div,
    inference_on_cpu,
    init_linears,
    pad_to_multiple,
    relative_position_bias,
    statically_known,
)
from ...registry import MODELS
from ..checks import check_maps, check_options, check_positive, check_rate, check_size
from .graph import POOLS, GraphFusion

FUSES = ('node', 'channel')
OUT_TYPES = ('vector', 'maps')
FEW = 256  # places, from all pictures, up to which a product of matrices beats a convolution


class Unify(nn.Module):
    """Bring a map to common channels and size: ``(N, C, H, W) -> (N, C', h, w)``.

    A convolution with kernel = stride, on a map filled up with zeros to a multiple at the bottom
    and right. Then, where its size is not the grid's, adaptive average pooling, or bilinear
    enlargement of sides that are too small.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: Side of the kernel.
        grid: h and w; None leaves the size as it comes.
        conv: False leaves the convolution out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        grid: Sequence[int] | None,
        conv: bool = True,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.grid = grid
        self.conv = None
        if conv:
            self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, kernel_size)
            nn.init.trunc_normal_(self.conv.weight, std=0.02)
            nn.init.zeros_(self.conv.bias)
            # as the maps are; otherwise large kernels are brought into it again for each picture
            self.conv.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Unify."""
        if self.kernel_size > 1:
            x = pad_to_multiple(x, self.kernel_size)
        if self.conv is not None:
            few = x.shape[0] * x.shape[2] * x.shape[3] <= FEW * self.kernel_size**2
            x = self._multiply(x) if inference_on_cpu(x) and few else self.conv(x)
        return x if self.grid is None else fit(x, self.grid)

    def _multiply(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve by a product of matrices, which is faster for few places."""
        k = self.kernel_size
        x = rearrange(x, 'n c (h i) (w j) -> n h w (i j c)', i=k, j=k)
        weight = rearrange(self.conv.weight, 'd c i j -> d (i j c)')
        return F.linear(x, weight, self.conv.bias).permute(0, 3, 1, 2)


def fit(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Pool sides that are too large, enlarge those too small: ``(N, C, H, W) -> (N, C, h, w)``."""
    if statically_known(x.shape[2] == sides[0]) and statically_known(x.shape[3] == sides[1]):
        return x
    smaller = [min(mine, wanted) for mine, wanted in zip(x.shape[2:], sides, strict=True)]
    x = F.adaptive_avg_pool2d(x, smaller)
    if all(statically_known(side == wanted) for side, wanted in zip(smaller, sides, strict=True)):
        return x
    return F.interpolate(x, tuple(sides), mode='bilinear', align_corners=False)


class SpatialAttention(nn.Module):
    """Self-attention over a map's tokens with a bias by relative position: ``(N, L, C)``, same.

    Args:
        channels: C.
        num_heads: Number of heads.
        grid: Height and width of the map; None: any, without the bias.
        residual: Add the input.
        norm: Layer norm before.
        proj: Linear layer behind.
        attn_drop_rate: Dropout of attention weights.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        grid: Sequence[int] | None,
        residual: bool = True,
        norm: bool = True,
        proj: bool = True,
        attn_drop_rate: float = 0.0,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.grid = grid
        self.residual = residual
        self.attn_drop_rate = attn_drop_rate
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels) if proj else None
        self.relative_position_bias_table = None
        if grid is not None:
            places = (2 * grid[0] - 1) * (2 * grid[1] - 1)
            self.relative_position_bias_table = nn.Parameter(
                nn.init.trunc_normal_(torch.zeros(places, num_heads), std=0.02)
            )
        self.cache = Cache()  # the bias
        self.product_cache = Cache()  # of the weights, with one head
        init_linears(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Let the tokens look at each other."""
        t = self.norm(x)
        drop = self.attn_drop_rate if self.training else 0.0
        whole = t.dtype.itemsize >= 4 and not torch.is_autocast_enabled(t.device.type)
        if self.num_heads == 1 and whole and not drop and not torch.is_grad_enabled():
            out = self._one_head(t)
        else:
            qkv = self.qkv(t)
            q, k, v = rearrange(qkv, 'n l (qkv h d) -> qkv n h l d', qkv=3, h=self.num_heads)
            out = attention(q, k, v, self.bias(), dropout_p=drop)
            out = rearrange(out, 'n h l d -> n l (h d)')
            out = out if self.proj is None else self.proj(out)
        return x + out if self.residual else out

    def bias(self) -> torch.Tensor | None:
        """Make the bias ``(1, h, L, L)``; kept from one picture to the next in inference."""
        table = self.relative_position_bias_table
        if table is None:
            return None

        def make() -> torch.Tensor:
            return relative_position_bias(table, self.grid).unsqueeze(0)

        return make() if torch.is_grad_enabled() else self.cache(make, table)

    def _one_head(self, t: torch.Tensor) -> torch.Tensor:
        """Attend with one head: half of the products, the same sums.

        ``q k^T = (t W_q + b_q) W_k^T t^T`` up to a number for each row, which the softmax does not
        see; and the values' and the last linear layer are one, since the weights sum to 1. Not in
        half precision, which rounds the products of weights too.
        """
        layers = [self.qkv] if self.proj is None else [self.qkv, self.proj]
        tensors = [p for layer in layers for p in (layer.weight, layer.bias)]
        query, value = self.product_cache(self._multiply, *tensors)
        bias = self.bias()
        q, t = F.linear(t, *query).unsqueeze(1), t.unsqueeze(1)
        out = attention(q, t, t, bias, scale=t.shape[-1] ** -0.5)
        return F.linear(out.squeeze(1), *value)

    def _multiply(self) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
        wq, wk, wv = self.qkv.weight.chunk(3)
        bq, _, bv = self.qkv.bias.chunk(3)
        if self.proj is not None:
            wv, bv = self.proj.weight @ wv, self.proj(bv)
        return (wk.t() @ wq, bq @ wk), (wv, bv)


@MODELS.register_module()
class MGFF(BaseModule):
    """Fuse maps of several granularities into one vector, or into maps again.

    Every map is unified (:class:`Unify`), attends to itself (:class:`SpatialAttention`), has its
    channels weighed (:class:`~mmvit_plugins.layers.SqueezeExcite`) and becomes nodes of one graph,
    which :class:`~mmvit_plugins.models.necks.GraphFusion` fuses.

    - ``out_type='vector'``: ``tuple of (N, C_i, H_i, W_i) -> ((N, C'),)``, for mmpretrain's
      ``LinearClsHead`` or :class:`MGFFHead`.
    - ``out_type='maps'``: ``-> tuple of (N, out_channels, H_i, W_i)``, in the place of an FPN: a
      1x1 convolution of each map plus one, which starts at zero, of its nodes after the graph.

    Any input size: maps are brought to ``grid_size``, for which positions and nodes have learned
    numbers; at the size that the grid is made for nothing is resampled. ``grid_size=None`` takes
    each map's own size after unification, without position bias; it needs an adjacency and a pool
    that learn nothing for single nodes.

    Args:
        in_channels: Channels of each map.
        strides: Stride of each map, in pixels. A map's kernel is the largest
            stride over its own, rounded up.
        grid_size: Height and width of the unified maps: input size
            over largest stride, such as 12 for 384 pixels.
        embed_dims: C; by default the channels of the last map.
        attention: Self-attention of each map; False leaves it out.
        num_heads: Heads of it. The paper's formula is one head.
        attn_residual: Add the attention's input to its output. The paper's formula does
            not; a pretrained backbone's features then start behind random layers.
        attn_norm: Layer norm before attention.
        attn_proj: Linear layer behind attention.
        attn_drop_rate: Dropout of attention weights.
        se_ratio: Channels over hidden channels of squeeze and excitation; None leaves it out.
        fuse: 'node': the graph has a node for each place of each map. 'channel': one for
            each place, with all maps' channels; C' is then C times the number of maps.
        adjacency: See :class:`GraphConv`; None leaves the graph layer out.
        adj_init: 'balanced', or 'pim' (best with ``order='pool_gcn'``).
        gcn_norm: 'BN1d', 'LN' or None.
        gcn_act: 'ReLU', 'GELU' or None.
        order: See :class:`GraphFusion`, as for the next four.
        pool: 'linear', 'soft' or 'avg'.
        num_supers: Super nodes.
        pool_act: Their activation.
        merge: 'mean' or 'linear'.
        out_type: 'vector' or 'maps'.
        return_maps: Return the unified maps (N, C, h, w), after squeeze and excitation,
            before the vector, for heads that look at each of them.
        out_channels: Channels of the returned maps.
        num_outs: Number of returned maps, by default as many as come in; more are
            made by taking every second place of the last.
        graph_init_cfg: mmengine's initialisation of the graph part, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of PIM's.
        init_cfg: mmengine's initialisation.

    Attributes:
        out_channels: C', or the channels of the returned maps.

    Raises:
        ValueError: For a wrong argument or input, naming what is allowed.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        grid_size: int | Sequence[int] | None,
        embed_dims: int | None = None,
        attention: bool = True,
        num_heads: int = 8,
        attn_residual: bool = True,
        attn_norm: bool = True,
        attn_proj: bool = True,
        attn_drop_rate: float = 0.0,
        se_ratio: int | None = 16,
        fuse: str = 'node',
        adjacency: str | None = 'learned_dynamic',
        adj_init: str = 'balanced',
        gcn_norm: str | None = 'BN1d',
        gcn_act: str | None = 'ReLU',
        order: str = 'gcn_pool',
        pool: str = 'linear',
        num_supers: int | None = None,
        pool_act: str | None = None,
        merge: str = 'mean',
        out_type: str = 'vector',
        return_maps: bool = False,
        out_channels: int = 256,
        num_outs: int | None = None,
        graph_init_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_options(
            'MGFF', fuse=(fuse, FUSES), out_type=(out_type, OUT_TYPES), pool=(pool, POOLS)
        )
        check_positive('MGFF', many=True, in_channels=in_channels, strides=strides)
        self.in_channels = tuple(in_channels)
        maps = len(self.in_channels)
        if len(strides) != maps:
            raise ValueError(
                f'MGFF: strides={strides} must have one entry for each of '
                f'in_channels={self.in_channels}'
            )
        self.grid = None
        if grid_size is not None:
            self.grid = check_size('MGFF', 'grid_size', grid_size)
        channels = self.in_channels[-1] if embed_dims is None else embed_dims
        num_outs = maps if num_outs is None else num_outs
        sizes = dict(embed_dims=channels, num_heads=num_heads, num_outs=num_outs)
        check_positive(
            'MGFF', **sizes, out_channels=out_channels, se_ratio=1 if se_ratio is None else se_ratio
        )
        check_rate('MGFF', attn_drop_rate=attn_drop_rate)
        if attention and channels % num_heads:
            raise ValueError(
                f'MGFF: num_heads={num_heads} must divide embed_dims={channels}; change either, or '
                'set attention=False'
            )
        if out_type == 'maps' and (order != 'gcn_pool' or return_maps):
            raise ValueError(
                f"MGFF: out_type='maps' returns the graph's nodes as maps, which order={order!r} "
                f"with return_maps={return_maps} does not fit; set order='gcn_pool' and "
                'return_maps=False'
            )
        if num_outs < maps:
            raise ValueError(f'MGFF: num_outs={num_outs} must be at least the {maps} maps')
        self.embed_dims = channels
        self.fuse = fuse
        self.out_type = out_type
        self.return_maps = return_maps
        self.num_outs = num_outs
        kernels = [ceil_div(max(strides), stride) for stride in strides]
        self.unify = nn.ModuleList(
            Unify(c, channels, kernel, self.grid)
            for c, kernel in zip(self.in_channels, kernels, strict=True)
        )
        if kernels[-1] == 1 and self.in_channels[-1] == channels:  # it is what others are made like
            self.unify[-1] = Unify(channels, channels, 1, self.grid, conv=False)
        self.attention = nn.ModuleList(
            SpatialAttention(
                channels,
                num_heads,
                self.grid,
                residual=attn_residual,
                norm=attn_norm,
                proj=attn_proj,
                attn_drop_rate=attn_drop_rate,
            )
            if attention
            else nn.Identity()
            for _ in range(maps)
        )
        self.se = nn.ModuleList(
            nn.Identity() if se_ratio is None else SqueezeExcite(channels, se_ratio)
            for _ in range(maps)
        )
        for se in self.se:
            init_linears(se)
        nodes = None if self.grid is None else self.grid[0] * self.grid[1]
        if nodes and fuse == 'node':
            nodes *= maps
        fused = channels if fuse == 'node' else channels * maps
        self.graph = GraphFusion(
            fused,
            nodes,
            adjacency=adjacency,
            adj_init=adj_init,
            gcn_norm=gcn_norm,
            gcn_act=gcn_act,
            order=order,
            pool=pool if out_type == 'vector' else None,
            num_supers=num_supers,
            pool_act=pool_act,
            merge=merge,
            init_cfg=graph_init_cfg,
        )
        self.out_channels = fused
        if out_type == 'maps':
            self.out_channels = out_channels
            self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in self.in_channels)
            self.back = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for _ in range(maps))
            for conv in self.lateral:
                nn.init.xavier_uniform_(conv.weight)
                nn.init.zeros_(conv.bias)
            for conv in self.back:
                nn.init.zeros_(conv.weight)
                nn.init.zeros_(conv.bias)

    def forward(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Fuse the maps."""
        check_maps('MGFF', inputs, self.in_channels)
        unified = [unify(x) for unify, x in zip(self.unify, inputs, strict=True)]
        if self.fuse == 'channel':
            unified = [fit(x, unified[-1].shape[2:]) for x in unified]
        sides = [x.shape[2:] for x in unified]
        tokens = [
            se(attend(x.flatten(2).transpose(1, 2)))
            for attend, se, x in zip(self.attention, self.se, unified, strict=True)
        ]
        fused = self.graph(torch.cat(tokens, dim=1 if self.fuse == 'node' else 2))
        if self.out_type == 'maps':
            return self._to_maps(inputs, fused, sides)
        if not self.return_maps:
            return (fused,)
        return (*(_to_map(t, side) for t, side in zip(tokens, sides, strict=True)), fused)

    def _to_maps(
        self, inputs: Sequence[torch.Tensor], nodes: torch.Tensor, sides: Sequence[torch.Size]
    ) -> tuple[torch.Tensor, ...]:
        if self.fuse == 'node':
            parts = nodes.split([h * w for h, w in sides], dim=1)
        else:
            parts = nodes.chunk(len(inputs), dim=2)
        outs = []
        for x, part, side, lateral, back in zip(
            inputs, parts, sides, self.lateral, self.back, strict=True
        ):
            # the convolution comes first, on the smaller map: it and the resizing commute
            seen = back(_to_map(part, side))
            seen = F.interpolate(seen, x.shape[2:], mode='bilinear', align_corners=False)
            outs.append(lateral(x) + seen)
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def _to_map(tokens: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """Put tokens ``(N, H W, C)`` back where they were: ``(N, C, H, W)``, a view."""
    return tokens.transpose(1, 2).unflatten(2, tuple(sides))
