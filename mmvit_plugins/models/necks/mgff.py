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
from mmengine.model import BaseModule
from torch import nn

from ...layers import (
    SqueezeExcite,
    ceil_div,
    init_linears,
)
from ...registry import MODELS
from ..checks import check_maps, check_options, check_positive, check_rate, check_size
from .graph import POOLS, GraphFusion
from .unify import SpatialAttention, Unify, fit

FUSES = ('node', 'channel')
OUT_TYPES = ('vector', 'maps')
FEW = 256  # places, from all pictures, up to which a product of matrices beats a convolution


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
