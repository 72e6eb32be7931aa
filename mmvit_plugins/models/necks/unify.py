"""Parts of MGFF that work on one map: bringing it to a size and a width, attention within it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from ...layers import (
    Cache,
    attention,
    inference_on_cpu,
    init_linears,
    pad_to_multiple,
    relative_position_bias,
    statically_known,
)

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
