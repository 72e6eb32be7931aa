"""T2T-ViT: tokens-to-token vision transformer, in all of its variants.

Paper: Yuan et al., ICCV 2021, arXiv:2101.11986. Official code: github.com/yitu-opensource/T2T-ViT
(Clear BSD). This is an independent implementation with the same numbers; the official checkpoint
files load as they are, and so do mmpretrain's.

Differs from the official code: any input size (see :class:`T2TViT`); a soft split, the norm after
it and the linear layer after that are one convolution, so that tokens of 147 and 576 channels are
never made; attention is fused; the token layers' performer is in float32 under autocast, since its
exponentials exceed half precision. The variants '14_resnext', '14_wide', '14_se', '16_ghost' and
'dense' borrow from convolutional networks.
"""

from collections.abc import Sequence
from math import isqrt

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torch.utils.checkpoint import checkpoint

from ...layers import (
    Block,
    Cache,
    Mlp,
    SqueezeExcite,
    attention,
    drop_path_rates,
    init_linears,
    pad_to_multiple,
    resize_table,
)
from ...registry import MODELS
from ..checks import check_options, check_positive
from .base import Backbone, repeat_channels

_VIT = {'tokens_type': 'performer', 'block': 'vit', 'mlp_ratio': 3}
_LITE = {**_VIT, 'embed_dims': 256, 'num_heads': 4, 'mlp_ratio': 2}
_14 = {**_VIT, 'embed_dims': 384, 'depths': (14,), 'num_heads': 6}
_19 = {**_VIT, 'embed_dims': 448, 'depths': (19,), 'num_heads': 7}
_24 = {**_VIT, 'embed_dims': 512, 'depths': (24,), 'num_heads': 8}
ARCHS = {
    '7': {**_LITE, 'depths': (7,)},
    '10': {**_LITE, 'depths': (10,)},
    '12': {**_LITE, 'depths': (12,)},
    '14': _14,
    '19': _19,
    '24': _24,
    't_14': {**_14, 'tokens_type': 'transformer'},
    't_19': {**_19, 'tokens_type': 'transformer'},
    't_24': {**_24, 'tokens_type': 'transformer'},
    '14_resnext': {**_14, 'num_heads': 32},
    '14_wide': {**_14, 'embed_dims': 768, 'depths': (4,), 'num_heads': 12},
    '14_se': {**_14, 'block': 'se'},
    '16_ghost': {**_14, 'depths': (16,), 'block': 'ghost'},
    'dense': {
        'tokens_type': 'performer',
        'block': 'dense',
        'embed_dims': 128,
        'depths': (3, 6, 6, 4),
        'num_heads': 8,
        'mlp_ratio': 2,
    },
}
STRIDES = (4, 8, 16)
SOFT_SPLITS = ((7, 4, 2), (3, 2, 1), (3, 2, 1))  # kernel, stride, padding
TOKEN_DIMS = 64  # channels of the two token layers
FEATURES = 32  # random features of a performer
GROWTH = 64  # channels that a dense block adds
SE_RATIO = 16
TOKENS_TYPES = ('performer', 'transformer', 'convolution')
BLOCKS = ('vit', 'se', 'ghost', 'dense')
OUT_TYPES = ('featmap', 'cls_token', 'avg_featmap', 'raw')


def at_least_float32(x: torch.Tensor) -> torch.Tensor:
    """Widen half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def linear_of_normed_patches(
    x: torch.Tensor, split: Sequence[int], norm: nn.LayerNorm, linear: nn.Linear
) -> torch.Tensor:
    """Cut a map into overlapping patches, normalise each and map it linearly, in one convolution.

    A layer norm takes the mean from its input and divides by the deviation. The first is the same
    as taking from each row of the weight its mean; for the second, mean and mean square of every
    patch are box filters of the map. At least in float32; the filters in float64, since their
    difference cancels.

    Args:
        x: ``(N, C, H, W)``.
        split: Kernel k, stride and padding of the patches.
        norm: Over the C k k values of a patch, channel by channel.
        linear: From C k k to C' channels.

    Returns:
        ``(N, C', H', W')``.
    """
    kernel, stride, padding = split
    x, weight = at_least_float32(x), at_least_float32(linear.weight)
    bias = weight @ at_least_float32(norm.bias)
    if linear.bias is not None:
        bias = bias + linear.bias
    weight = weight * norm.weight
    weight = weight - weight.mean(dim=1, keepdim=True)
    wide = x if x.device.type == 'mps' else x.double()
    wide = wide.permute(0, 2, 3, 1)
    mean = wide.new_full((x.shape[1], 1), 1 / x.shape[1])  # a product is faster than a reduction
    moments = torch.stack((wide @ mean, wide.square() @ mean)).squeeze(-1)
    moments = F.pad(moments, [padding] * 4)
    for dim in (2, 3):  # views: torch has no fast float64 pooling that takes symbolic sizes
        moments = moments.unfold(dim, kernel, stride).sum(dim=-1)
    mean, square = (moments / kernel**2).unsqueeze(2)
    scale = ((square - mean.square()).clamp(min=0) + norm.eps).rsqrt().to(x.dtype)
    weight = weight.unflatten(1, (x.shape[1], kernel, kernel))
    return torch.addcmul(bias.view(-1, 1, 1), F.conv2d(x, weight, None, stride, padding), scale)


def performer(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, features: torch.Tensor
) -> torch.Tensor:
    """Attend with a kernel of random features instead of the softmax: ``(N, L, C)`` each.

    The feature map is ``exp(w z - |z|^2 / 2) / sqrt(m)`` for the m rows of ``features``; cost and
    memory are linear in L. 1e-8 is added to the denominator. To be called in float32.
    """
    phi_q, phi_k = (
        (z @ features.t()).sub_(z.square().sum(dim=-1, keepdim=True), alpha=0.5).exp_()
        for z in (q, k)
    )
    total = phi_q @ phi_k.sum(dim=1, keepdim=True).mT + 1e-8 * features.shape[0]
    return phi_q @ (phi_k.mT @ v) / total


class TokenLayer(nn.Module):
    """Soft split and one layer of attention: ``(N, C, H, W) -> (N, 64, H', W')``.

    Args:
        in_channels: C.
        split: Kernel, stride and padding of the soft split.
        performer: Random features instead of the softmax.
        scale: Of the softmax's products; by default the width of a patch
            ``(C k k) ** -0.5``, as the official models have it.
        drop_rate: Dropout after projection and MLP.
    """

    def __init__(
        self,
        in_channels: int,
        split: Sequence[int],
        performer: bool,
        scale: float | None,
        drop_rate: float,
    ):
        super().__init__()
        width = in_channels * split[0] ** 2
        self.split = split
        self.scale = width**-0.5 if scale is None else scale
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * TOKEN_DIMS, bias=performer)
        features = None
        if performer:
            features = nn.init.orthogonal_(torch.empty(FEATURES, TOKEN_DIMS)) * FEATURES**0.5
        self.register_buffer('features', features)
        self.proj = nn.Linear(TOKEN_DIMS, TOKEN_DIMS)
        self.norm2 = nn.LayerNorm(TOKEN_DIMS)
        self.mlp = Mlp(TOKEN_DIMS, TOKEN_DIMS)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn tokens into tokens."""
        dtype = self.qkv.weight.dtype
        with torch.autocast(x.device.type, enabled=False):
            qkv = linear_of_normed_patches(x, self.split, self.norm1, self.qkv)
            sides = qkv.shape[2:]
            q, k, v = rearrange(qkv, 'n c h w -> n (h w) c').chunk(3, dim=-1)
            if self.features is not None:
                out = performer(q, k, v, self.features.to(v.dtype)).to(dtype)
                x = self._mix(out, v.to(dtype))
        if self.features is None:
            q, k, v = (t.to(dtype).unsqueeze(1) for t in (q, k, v))
            x = self._mix(attention(q, k, v, scale=self.scale).squeeze(1), v.squeeze(1))
        return rearrange(x, 'n (h w) c -> n c h w', h=sides[0], w=sides[1])

    def _mix(self, out: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Finish the layer; the way round attention is from the values, not from the input."""
        x = v + self.drop(self.proj(out))
        return x + self.drop(self.mlp(self.norm2(x)))


class ConvTokens(nn.Module):
    """A convolution in the place of a token layer: ``(N, C, H, W) -> (N, 64, H', W')``."""

    def __init__(self, in_channels: int, split: Sequence[int]):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, TOKEN_DIMS, *split)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve."""
        return self.conv(x)


class Attention(nn.Module):
    """Multi-head attention: ``(N, L, C)``, same shape.

    Args:
        channels: C.
        num_heads: Number of heads.
        scale: Of the products; by default that of the heads' width.
        attn_drop_rate: Dropout of attention weights.
        drop_rate: Dropout of the output.
        ghost: Compute half of the queries', keys' and values' channels; the others are these
            times a number. Source: Han et al., "GhostNet", CVPR 2020.
        se: Weigh the output's channels by :class:`SqueezeExcite`.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        scale: float | None,
        attn_drop_rate: float,
        drop_rate: float,
        ghost: bool,
        se: bool,
    ):
        super().__init__()
        self.num_heads = num_heads
        self.scale = scale
        self.attn_drop_rate = attn_drop_rate
        width = channels // 2 if ghost else channels
        self.qkv = nn.Linear(channels, 3 * width, bias=False)
        self.register_parameter('cheap', ghost_factors(3, width) if ghost else None)
        self.proj = nn.Linear(channels, channels)
        self.se = SqueezeExcite(channels, SE_RATIO, bias=False) if se else nn.Identity()
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix tokens."""
        qkv = self.qkv(x).unflatten(-1, (3, -1))
        if self.cheap is not None:
            qkv = torch.cat((qkv, qkv * self.cheap), dim=-1)
        q, k, v = rearrange(qkv, 'n l qkv (h d) -> qkv n h l d', h=self.num_heads)
        drop = self.attn_drop_rate if self.training else 0.0
        out = attention(q, k, v, scale=self.scale, dropout_p=drop)
        return self.drop(self.se(self.proj(rearrange(out, 'n h l d -> n l (h d)'))))


def ghost_factors(copies: int, channels: int) -> nn.Parameter:
    """Draw the factors of cheap channels, as a depthwise convolution of width 1 begins."""
    return nn.Parameter(torch.empty(copies, channels).uniform_(-1, 1))


class GhostMlp(nn.Module):
    """An MLP with few computed hidden channels; the others are these times a number, activated.

    ``(N, L, C)``, same shape; the hidden width is C times a whole ratio.
    """

    def __init__(self, channels: int, ratio: int, drop_rate: float):
        super().__init__()
        self.fc1 = nn.Linear(channels, channels)
        self.cheap = ghost_factors(ratio - 1, channels)
        self.fc2 = nn.Linear(ratio * channels, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix channels."""
        x = F.gelu(self.fc1(x))
        x = torch.cat((x, F.gelu(x.unsqueeze(-2) * self.cheap).flatten(-2)), dim=-1)
        return self.drop(self.fc2(self.drop(x)))


class DenseBlock(Block):
    """A block whose result, narrowed, is put beside its input: ``(N, L, C) -> (N, L, C + 64)``.

    Source: Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
    """

    def __init__(self, channels: int, attn: nn.Module, mlp: nn.Module, drop_path: float):
        super().__init__(channels, attn, mlp, drop_path)
        self.dense_linear = nn.Linear(channels, GROWTH)

    def forward(self, x: torch.Tensor, *context: object) -> torch.Tensor:
        """Run the block."""
        return torch.cat((x, self.dense_linear(super().forward(x, *context))), dim=-1)


class Transition(nn.Module):
    """Halve the channels between dense groups: ``(N, L, C) -> (N, L, C / 2)``."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear = nn.Linear(channels, channels // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Narrow and activate."""
        return F.gelu(self.linear(x))


def sinusoid_table(length: int, channels: int) -> torch.Tensor:
    """Make a table ``(1, length, channels)``: sines in even, cosines in odd channels.

    Channels 2i and 2i + 1 have the frequency ``10000^(-2i / channels)``.
    """
    frequencies = 10000.0 ** (-2 * (torch.arange(channels, dtype=torch.float64) // 2) / channels)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    table = torch.where(torch.arange(channels) % 2 == 0, angles.sin(), angles.cos())
    return table[None].to(torch.get_default_dtype())


class TransformerStage(nn.Module):
    """The last soft split, class token, positions, blocks, norm.

    ``(N, 64, H, W) -> (N, 1 + H' W', C)``, the class token first.
    """

    def __init__(
        self,
        embed_dims: int,
        out_channels: int,
        grid: int,
        blocks: Sequence[nn.Module],
        drop_rate: float,
        with_cp: bool,
    ):
        super().__init__()
        self.with_cp = with_cp
        self.embed = nn.Conv2d(TOKEN_DIMS, embed_dims, *SOFT_SPLITS[2])
        self.cls_token = nn.Parameter(
            nn.init.trunc_normal_(torch.zeros(1, 1, embed_dims), std=0.02)
        )
        self.register_buffer('pos_embed', sinusoid_table(1 + grid**2, embed_dims))
        self.drop = nn.Dropout(drop_rate)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(out_channels)
        self.cache = Cache()  # positions

    def positions(self, rows: int, columns: int) -> torch.Tensor:
        """Fit the table to a grid: ``(1, 1 + rows * columns, C)``."""
        table = self.pos_embed
        return self.cache(lambda: resize_positions(table, rows, columns), rows, columns, table)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Run the stage; hand out the tokens and the sides of their grid."""
        x = self.embed(x)
        sides = x.shape[2], x.shape[3]
        x = rearrange(x, 'n c h w -> n (h w) c')
        x = torch.cat((self.cls_token.to(x.dtype).expand(x.shape[0], -1, -1), x), dim=1)
        x = self.drop(x + self.positions(*sides).to(x.dtype))
        for block in self.blocks:
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return self.norm(x), sides


def resize_positions(table: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Resize a position table ``(1, 1 + G * G, C)`` bicubically; the class token's row stays."""
    side = isqrt(table.shape[1] - 1)
    grid = table[:, 1:].float().unflatten(1, (side, side))
    grid = resize_table(grid, rows, columns).flatten(1, 2).to(table.dtype)
    return torch.cat((table[:, :1], grid), dim=1)


@MODELS.register_module()
class T2TViT(Backbone):
    """T2T-ViT backbone: ``(N, C, H, W) ->`` maps, or one vector or sequence for a picture.

    Three stages: the two token layers (strides 4 and 8, 64 channels) and the transformer (stride
    16, normalised). ``out_type`` says what comes out, always as a tuple:

    - 'featmap': the maps of ``out_indices``, ``(N, C_i, ceil(H / s_i), ceil(W / s_i))``; pictures
      are filled up with zeros to multiples of 4 at the bottom and right, which gives just these
      sizes;
    - 'cls_token': ``(N, C)``, what the official classifiers read;
    - 'avg_featmap': ``(N, C)``, the mean over the tokens of the picture;
    - 'raw': ``(N, 1 + L, C)``, the class token first.

    Any input size; without 'featmap' nothing is filled up, so that the tokens are the official ones
    at every size that the official code takes (H and W of 16 n, 16 n + 1 or 16 n + 2, and square).
    The position table is resized bicubically.

    Args:
        arch: '7', '10', '12', '14', '19', '24' (tokens by performers), 't_14', 't_19', 't_24' (by
            transformers), '14_resnext', '14_wide', '14_se', '16_ghost', 'dense', or a dict with
            ``tokens_type``, ``block`` ('vit', 'se', 'ghost' or 'dense'), ``embed_dims``, ``depths``
            (one number, or for 'dense' one for each group), ``num_heads`` and ``mlp_ratio``.
        in_channels: Channels of the input.
        img_size: Side of the square that the position table is made for; it fixes no input size.
        tokens_type: 'performer', 'transformer' or 'convolution', instead of the variant's.
        out_type: See above.
        out_indices: Stages to return, of 0..2, with 'featmap': by default
            all. The other types are of the last stage.
        qk_scale: Scale of the blocks' products, by default (heads' width)^-0.5.
        token_qk_scale: That of transformer token layers, by default (width of a
            patch)^-0.5, which is not the heads' width.
        drop_rate: Dropout after the embedding, in attention and MLPs of the blocks.
        attn_drop_rate: Dropout of the blocks' attention weights.
        performer_drop_rate: Dropout in performers, which the official code fixes at 0.1.
        drop_path_rate: Rate of the last block; it grows linearly from 0. (In the official
            dense variant it grows from group to group, to 3 / 11 of it.)
        frozen_stages: -1 freezes nothing, 0 the first token layer, 1 both, 2 or 3 everything.
        with_cp: Recompute token layers and blocks in the backward pass to save memory.
        allow_partial_load: See :class:`Backbone`.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of ours or of the authors.

    Raises:
        ValueError: For an unknown or inconsistent argument.
    """

    archs = ARCHS
    input_layer = 'stages.0.conv.weight'

    def __init__(
        self,
        arch: str | dict = '14',
        in_channels: int = 3,
        img_size: int = 224,
        tokens_type: str | None = None,
        out_type: str = 'featmap',
        out_indices: Sequence[int] | None = None,
        qk_scale: float | None = None,
        token_qk_scale: float | None = None,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        performer_drop_rate: float = 0.1,
        drop_path_rate: float = 0.0,
        frozen_stages: int = -1,
        with_cp: bool = False,
        allow_partial_load: bool = False,
        init_cfg: dict | None = None,
    ):
        arch = self.resolve_arch(arch)
        if tokens_type is not None:
            arch = {**arch, 'tokens_type': tokens_type}
        widths = self._check_arch(**arch)
        check_options('T2TViT', out_type=(out_type, OUT_TYPES))
        if out_indices is None:
            out_indices = (0, 1, 2) if out_type == 'featmap' else (2,)
        if not isinstance(img_size, int) or img_size < STRIDES[2]:
            raise ValueError(
                f'T2TViT: img_size={img_size!r} must be a whole number of at least {STRIDES[2]}'
            )
        super().__init__(
            in_channels=in_channels,
            stage_channels=(TOKEN_DIMS, TOKEN_DIMS, widths[-1]),
            stage_strides=STRIDES,
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            norm_eval=False,
            allow_partial_load=allow_partial_load,
            init_cfg=init_cfg,
        )
        if out_type != 'featmap' and self.out_indices != (2,):
            raise ValueError(
                f'T2TViT: out_type={out_type!r} is of the last stage only: leave out_indices='
                f"{out_indices!r} away, or take 'featmap'"
            )
        self.out_type = out_type
        self.min_size = 1 if out_type == 'featmap' else 3  # from 3 pixels on there is a patch
        self.with_cp = with_cp
        self.stages = nn.ModuleList()
        for channels, split in zip((in_channels, TOKEN_DIMS), SOFT_SPLITS[:2], strict=True):
            if arch['tokens_type'] == 'convolution':
                self.stages.append(ConvTokens(channels, split))
            else:
                by_performer = arch['tokens_type'] == 'performer'
                drop = performer_drop_rate if by_performer else 0.0
                layer = TokenLayer(channels, split, by_performer, token_qk_scale, drop)
                self.stages.append(layer)
        blocks = []
        rates = iter(drop_path_rates(drop_path_rate, sum(arch['depths'])))
        kind, ratio = arch['block'], arch['mlp_ratio']
        for channels in widths[:-1]:
            if channels is None:
                blocks.append(Transition(blocks[-1].dense_linear.in_features + GROWTH))
                continue
            attn = Attention(
                channels,
                arch['num_heads'],
                qk_scale,
                attn_drop_rate,
                drop_rate,
                ghost=kind == 'ghost',
                se=kind == 'se',
            )
            if kind == 'ghost':
                mlp = GhostMlp(channels, ratio, drop_rate)
            else:
                mlp = Mlp(channels, int(channels * ratio), drop_rate)
            block = DenseBlock if kind == 'dense' else Block
            blocks.append(block(channels, attn, mlp, next(rates)))
        self.depths = (1, len(blocks))  # what is between the first token layer and the head
        self.stages.append(
            TransformerStage(
                arch['embed_dims'], widths[-1], img_size // STRIDES[2], blocks, drop_rate, with_cp
            )
        )
        init_linears(self)
        nn.init.trunc_normal_(self.stages[2].embed.weight, std=0.02)
        nn.init.zeros_(self.stages[2].embed.bias)
        self._freeze()

    @staticmethod
    def _check_arch(
        tokens_type: str,
        block: str,
        embed_dims: int,
        depths: Sequence[int],
        num_heads: int,
        mlp_ratio: float,
    ) -> list[int | None]:
        """List the width of every block, None for a transition, and then that of the output."""
        check_options('T2TViT', tokens_type=(tokens_type, TOKENS_TYPES), block=(block, BLOCKS))
        check_positive('T2TViT', many=True, depths=depths)
        check_positive('T2TViT', embed_dims=embed_dims, num_heads=num_heads)
        if len(depths) > 1 and block != 'dense':
            raise ValueError(
                f"T2TViT: depths={tuple(depths)} must be one positive number, or with block='dense'"
                ' one for each group'
            )
        widths: list[int] = []
        width = embed_dims
        for i, depth in enumerate(depths):
            if i:
                widths.append(None)
                width //= 2
            for _ in range(depth):
                widths.append(width)
                width += GROWTH if block == 'dense' else 0
        wrong = [channels for channels in widths if channels and channels % num_heads]
        if wrong:
            raise ValueError(
                f'T2TViT: the width {wrong[0]} of a block must be a multiple of num_heads='
                f'{num_heads}'
            )
        if block == 'ghost' and (embed_dims % 2 or mlp_ratio != int(mlp_ratio) or mlp_ratio < 2):
            raise ValueError(
                f"T2TViT: block='ghost' needs an even embed_dims, not {embed_dims}, and a whole "
                f'mlp_ratio of at least 2, not {mlp_ratio}'
            )
        if block == 'se' and embed_dims < SE_RATIO:
            raise ValueError(
                f"T2TViT: block='se' needs embed_dims of at least {SE_RATIO}, not {embed_dims}"
            )
        return [*widths, width]

    def stage_modules(self) -> list[nn.Module]:
        """List the stages; the first token layer is the stem of this network."""
        return list(self.stages)

    def layer_id(self, name: str) -> int:
        """Depth of a parameter: a layer for each token layer and each block."""
        parts = name.split('.')
        stage = int(parts[1])
        if stage < 2:
            return stage
        if parts[2] == 'blocks':
            return 2 + int(parts[3])
        return 1 + self.depths[1] if parts[2] == 'norm' else 2

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute what ``out_type`` says; maps are in channels-last memory."""
        self.check_input(x)
        if self.out_type == 'featmap':
            x = pad_to_multiple(x, STRIDES[0])
        x = x.contiguous(memory_format=torch.channels_last)
        outs = []
        for stage in self.stages[:2]:
            if self.with_cp and torch.is_grad_enabled():
                x = checkpoint(stage, x, use_reentrant=False)
            else:
                x = stage(x)
            outs.append(x)
        x, sides = self.stages[2](x)
        if self.out_type == 'featmap':
            outs.append(rearrange(x[:, 1:], 'n (h w) c -> n c h w', h=sides[0], w=sides[1]))
            return tuple(outs[i] for i in self.out_indices)
        if self.out_type == 'cls_token':
            return (x[:, 0],)
        return (x[:, 1:].mean(dim=1) if self.out_type == 'avg_featmap' else x,)

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize a position table of another size, and fit the first layer to other channels."""
        if name == 'stages.2.pos_embed' and value.ndim == 3 and value.shape[2] == like.shape[2]:
            if value.shape[1] < 2 or isqrt(value.shape[1] - 1) ** 2 != value.shape[1] - 1:
                return None
            side = isqrt(like.shape[1] - 1)
            return resize_positions(value, side, side)
        area = SOFT_SPLITS[0][0] ** 2
        of_patches = name.startswith(('stages.0.norm1.', 'stages.0.qkv.weight'))
        if of_patches and value.shape[:-1] == like.shape[:-1] and value.shape[-1] % area == 0:
            value = value.unflatten(-1, (-1, area)).view(-1, value.shape[-1] // area, area)
            channels = like.shape[-1] // area
            if name.startswith('stages.0.norm1.'):  # a norm has no sum to keep
                value = value * (channels / value.shape[1])
            return repeat_channels(value, channels).view(like.shape)
        return super().adapt_tensor(name, value, like)
