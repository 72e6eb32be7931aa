"""LSGA-ViT: light self-Gaussian-attention vision transformer for hyperspectral images.

Paper: Ma et al., "Light Self-Gaussian-Attention Vision Transformer for Hyperspectral Image
Classification", IEEE Transactions on Instrumentation and Measurement 2023,
doi:10.1109/TIM.2023.3279922. Official code: github.com/machao132/LSGA-VIT (no licence). This is an
independent implementation with the same numbers; the authors' checkpoint files load as they are.

Differs from the official code: the attention of the paper is there beside that of the repository,
which adds a step that the paper does not have; the Gaussian may be a true two-dimensional one
round the labelled pixel; windows of any size, odd maps between stages included; no parameters that
are never used.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from ...layers import (
    Block,
    Cache,
    Mlp,
    PatchMerging,
    attention,
    ceil_div,
    drop_path_rates,
    init_linears,
    is_capturing,
    resize_table,
)
from ...registry import MODELS
from ..checks import check_options, check_positive, check_size
from .base import Backbone

ATTENTIONS = ('slots', 'paper', 'self')
POSITIONS = ('flat', 'spatial', 'none')
OUT_TYPES = ('featmap', 'avg_featmap', 'center_featmap')
SIGMAS = {'flat': 10.0, 'spatial': 2.5, 'none': 1.0}  # the first is the authors'
SPECTRAL_CHANNELS = 4  # of the 3-D convolution


class Tokenizer(nn.Module):
    """A token for each pixel, of its and its neighbours' spectra: ``(N, B, H, W) -> (N, H, W, C)``.

    A 3x3x3 convolution over bands and places, then a 3x3 one over places, each with a batch norm
    and ReLU; at the end a LayerNorm.
    """

    def __init__(self, bands: int, channels: int, drop_rate: float):
        super().__init__()
        self.conv3d = nn.Conv3d(1, SPECTRAL_CHANNELS, 3, padding=1)
        self.norm3d = nn.BatchNorm3d(SPECTRAL_CHANNELS)
        self.conv2d = nn.Conv2d(SPECTRAL_CHANNELS * bands, channels, 3, padding=1)
        self.norm2d = nn.BatchNorm2d(channels)
        self.norm = nn.LayerNorm(channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed every pixel."""
        x = self.norm3d(self.conv3d(x.unsqueeze(1))).relu()
        x = self.norm2d(self.conv2d(x.flatten(1, 2))).relu()
        return self.drop(self.norm(x.permute(0, 2, 3, 1)))

    def fuse(self) -> None:
        """Fold the batch norms' running statistics into the convolutions, for inference only."""
        for conv, norm in (('conv3d', 'norm3d'), ('conv2d', 'norm2d')):
            fused = fuse_conv_bn_eval(getattr(self, conv).eval(), getattr(self, norm).eval())
            setattr(self, conv, fused)
            setattr(self, norm, nn.Identity())


class SelfAttention(nn.Module):
    """Plain attention over all tokens: ``(N, L, C) -> (N, L, C)``.

    Args:
        channels: C.
        num_heads: Heads, which share the bias.
        attn_drop_rate: Dropout of attention weights.
        drop_rate: Dropout after the projection.
    """

    light = False  # whether the tokens are their own keys and values

    def __init__(self, channels: int, num_heads: int, attn_drop_rate: float, drop_rate: float):
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop_rate = attn_drop_rate
        if self.light:
            self.q = nn.Linear(channels, channels)
        else:
            self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Mix tokens; ``bias`` ``(L, L)`` is added to the scaled products of every head."""
        if self.light:
            q, k, v = self.q(x), x, x
        else:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (rearrange(t, 'n l (h d) -> n h l d', h=self.num_heads) for t in (q, k, v))
        x = attention(q, k, v, bias, dropout_p=self.attn_drop_rate if self.training else 0.0)
        return self.drop(self.proj(rearrange(x, 'n h l d -> n l (h d)')))


class LightAttention(SelfAttention):
    """Attention as in the paper: queries alone have weights, tokens are their keys and values."""

    light = True


class SlotAttention(LightAttention):
    """Attention as in the authors' repository: as in the paper, but over slots.

    One slot for each token of a window: ``softmax(slots x^T) (x W)``, a cross-attention without
    scale whose queries are learned. Other sizes of the map resize the slots bicubically.

    Args:
        window: Height and width of the map that the slots are made for.
        channels, num_heads, attn_drop_rate, drop_rate: See :class:`SelfAttention`.
    """

    def __init__(self, window: Sequence[int], channels: int, *args):
        super().__init__(channels, *args)
        self.window = tuple(window)
        length = self.window[0] * self.window[1]
        # The authors' Xavier draw takes three dimensions for a convolution's: far smaller than
        # for matrices, so that all slots begin as nearly the mean of the tokens.
        self.slots = nn.Parameter(torch.empty(length, channels))
        nn.init.normal_(self.slots, std=(2 / (length * channels + channels)) ** 0.5)
        self.value = nn.Linear(channels, channels, bias=False)

    def reset_value(self) -> None:
        """Draw the slots' values as the authors do; see the slots."""
        channels = self.value.in_features
        nn.init.normal_(self.value.weight, std=(2 / (channels * channels + channels)) ** 0.5)

    def forward(  # type: ignore[override]  # slots are resized to the map
        self, x: torch.Tensor, bias: torch.Tensor | None, sides: tuple[int, int]
    ) -> torch.Tensor:
        """Gather slots from the tokens of a map of ``sides``, and mix those."""
        slots = resize_slots(self.slots, self.window, sides).to(x.dtype)
        tokens, slots = x.unsqueeze(1), slots.expand(x.shape[0], 1, -1, -1)
        x = attention(slots, tokens, self.value(tokens), scale=1.0).squeeze(1)
        return super().forward(x, bias)


def resize_slots(slots: torch.Tensor, window: Sequence[int], sides: Sequence[int]) -> torch.Tensor:
    """Resize slots ``(h * w, C)`` of a window bicubically to a map of ``sides``."""
    grid = slots.float().unflatten(0, tuple(window)).unsqueeze(0)
    return resize_table(grid, *sides).flatten(0, 2).to(slots.dtype)


def flat_gaussian(sides: Sequence[int], sigma: float) -> torch.Tensor:
    """Weigh tokens by their distance in raster order from the middle one: ``(L,)``.

    The authors' form; rows look alike at any height, so it is far from round. Where a side is even
    the middle one is the last token of a row.
    """
    length = sides[0] * sides[1]
    distance = torch.arange(length) - (length - 1) // 2
    return (-(distance**2) / (2 * sigma**2)).exp()


def spatial_gaussian(sides: Sequence[int], center: Sequence[int], sigma: float) -> torch.Tensor:
    """Weigh tokens by their distance in the map from ``center``, in pixels: ``(L,)``."""
    rows, columns = (torch.arange(side) - c for side, c in zip(sides, center, strict=True))
    square = rows[:, None] ** 2 + columns[None] ** 2
    return (-square / (2 * sigma**2)).exp().flatten()


class LSGAStage(nn.Module):
    """Merging (not before the first stage), blocks: ``(N, H, W, C) -> (N, H', W', C')``.

    Args:
        merge: The merging.
        blocks: The blocks.
        norm: For the output only.
        position: See :class:`LSGAViT`.
        sigma: Of the Gaussian, in pixels of this stage's map (or its tokens, if 'flat').
        with_cp: Recompute the blocks in the backward pass.
    """

    def __init__(
        self,
        merge: nn.Module,
        blocks: Sequence[nn.Module],
        norm: nn.Module,
        position: str,
        sigma: float,
        with_cp: bool,
    ):
        super().__init__()
        self.position = position
        self.sigma = sigma
        self.with_cp = with_cp
        self.merge = merge
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.cache = Cache()  # the bias

    def bias(
        self, x: torch.Tensor, sides: tuple[int, int], center: tuple[int, int]
    ) -> torch.Tensor | None:
        """Make what is added to the products: ``(L, L)``, one where query and key are central."""
        if self.position == 'none':
            return None

        def make() -> torch.Tensor:
            if self.position == 'flat':
                weights = flat_gaussian(sides, self.sigma)
            else:
                weights = spatial_gaussian(sides, center, self.sigma)
            weights = weights.to(x.device)
            return torch.outer(weights, weights)

        return self.cache(make, sides, center, x.device, type(x))

    def forward(self, x: torch.Tensor, center: tuple[int, int]) -> torch.Tensor:
        """Run the stage; ``center`` is the labelled pixel's place in its output."""
        x = self.merge(x)
        sides = x.shape[1], x.shape[2]
        bias = self.bias(x, sides, center)
        x = x.flatten(1, 2)
        for block in self.blocks:
            context = (bias, sides) if isinstance(block.attn, SlotAttention) else (bias,)
            if self.with_cp and x.requires_grad:
                x = checkpoint(block, x, *context, use_reentrant=False)
            else:
                x = block(x, *context)
        return x.unflatten(1, sides)


@MODELS.register_module()
class LSGAViT(Backbone):
    """LSGA-ViT backbone: a window of a scene, ``(N, B, H, W)``, to maps or one vector.

    A window's label is that of one pixel, at ``(H // 2, W // 2)``. ``out_type`` says what comes
    out, always as a tuple:

    - 'featmap': the maps of ``out_indices``, ``(N, C_i, ceil(H / s_i), ceil(W / s_i))`` with
      strides 1, 2, 4, ...; the last stage's is normalised;
    - 'avg_featmap': ``(N, C)``, the mean over the tokens, what the official classifier reads;
    - 'center_featmap': ``(N, C)``, the labelled pixel's token.

    Maps with odd sides are filled up with zeros at the bottom and right before merging; the
    labelled pixel's place ``(r, c)`` becomes ``(r // 2, c // 2)``.

    Attention, with the Gaussian ``G`` (see below) as bias of all heads:

    - 'slots': the authors' code. ``window_size**2`` learned queries gather slots from the
      tokens, and the attention of the paper runs over these. Costs more than plain
      self-attention. Slots are resized bicubically for windows of another size.
    - 'paper': queries alone have weights, keys and values are the tokens.
    - 'self': plain self-attention, for comparison.

    Position, ``G[i, j] = g(i) g(j)``, with g at most 1, where a token is the labelled pixel's:

    - 'flat': the authors' ``g(i) = exp(-(i - c)^2 / (2 sigma^2))`` over raster indices, c the
      middle one. For odd windows only, since an even one's middle index is the end of a row;
    - 'spatial': the same of the distance in the plane. Any windows;
    - 'none': no bias.

    Args:
        in_channels: Bands, or components after a band transform.
        window_size: Side, or height and width, of the windows that it is made
            for; it fixes no input size.
        embed_dims: Channels of the first stage, which double from stage to stage.
        depths: Blocks of each stage.
        num_heads: Heads of each stage.
        mlp_ratio: Hidden channels of an MLP over its channels.
        attention: See above.
        position: See above.
        sigma: Of the Gaussian: with 'spatial' in pixels of the input, by default
            2.5; with 'flat' in tokens, by default 10, as the authors'.
        allow_off_center: Take the authors' Gaussian for even windows all the same, for files
            that were trained so.
        out_type: See above.
        out_indices: Stages to return with 'featmap', negative ones from the end.
        drop_rate: Dropout after the tokenizer and projections and in the MLPs.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Rate of the last block; it grows linearly from 0.
        frozen_stages: -1 freezes nothing, 0 the stem, i the stem and the first i stages.
        with_cp: Recompute the blocks in the backward pass to save memory.
        allow_partial_load: See :class:`Backbone`.
        init_cfg: mmengine's initialisation, such as
            ``dict(type='Pretrained', checkpoint=...)`` with a file of ours or of the authors.

    Raises:
        ValueError: For an unknown or inconsistent argument.
    """

    # Bands are no colours: weights for some are of no use to others.
    input_layer = ''
    variant_argument = ''

    def __init__(
        self,
        in_channels: int = 36,
        window_size: int | Sequence[int] = 9,
        embed_dims: int = 120,
        depths: Sequence[int] = (2,),
        num_heads: Sequence[int] = (12,),
        mlp_ratio: float = 4.0,
        attention: str = 'slots',
        position: str = 'flat',
        sigma: float | None = None,
        allow_off_center: bool = False,
        out_type: str = 'featmap',
        out_indices: Sequence[int] = (-1,),
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        frozen_stages: int = -1,
        with_cp: bool = False,
        allow_partial_load: bool = False,
        init_cfg: dict | None = None,
    ):
        depths, heads = tuple(depths), tuple(num_heads)
        window = check_size('LSGAViT', 'window_size', window_size)
        check_options(
            'LSGAViT',
            attention=(attention, ATTENTIONS),
            position=(position, POSITIONS),
            out_type=(out_type, OUT_TYPES),
        )
        check_positive('LSGAViT', many=True, depths=depths)
        check_positive('LSGAViT', entries=len(depths), num_heads=heads)
        if any(embed_dims * 2**i % number for i, number in enumerate(heads)):
            raise ValueError(
                f'LSGAViT: embed_dims={embed_dims}, doubled from stage to stage, must be multiples '
                f'of num_heads={heads}'
            )
        if mlp_ratio <= 0 or (sigma is not None and sigma <= 0):
            raise ValueError(
                f'LSGAViT: mlp_ratio={mlp_ratio} and sigma={sigma} must be positive numbers'
            )
        stages = len(depths)
        channels = [embed_dims * 2**i for i in range(stages)]
        super().__init__(
            in_channels=in_channels,
            stage_channels=channels,
            stage_strides=[2**i for i in range(stages)],
            out_indices=out_indices,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            norm_eval=False,
            allow_partial_load=allow_partial_load,
            init_cfg=init_cfg,
        )
        if out_type != 'featmap' and self.out_indices != (stages - 1,):
            raise ValueError(
                f'LSGAViT: out_type={out_type!r} is of the last stage, but out_indices='
                f"{tuple(out_indices)}: leave it out, or take out_type='featmap'"
            )
        self.window_size, self.out_type, self.depths = window, out_type, depths
        self.centered = position == 'flat' and not allow_off_center
        self._check_center(window)
        sigma = SIGMAS[position] if sigma is None else sigma
        self.stem = Tokenizer(in_channels, embed_dims, drop_rate)
        rates = iter(drop_path_rates(drop_path_rate, sum(depths)))
        self.stages = nn.ModuleList()
        for i, (dims, depth) in enumerate(zip(channels, depths, strict=True)):
            blocks = []
            for _ in range(depth):
                options = (dims, heads[i], attn_drop_rate, drop_rate)
                if attention == 'slots':
                    sides = [ceil_div(side, 2**i) for side in window]
                    attn = SlotAttention(sides, *options)
                else:
                    attn = (LightAttention if attention == 'paper' else SelfAttention)(*options)
                blocks.append(
                    Block(dims, attn, Mlp(dims, int(mlp_ratio * dims), drop_rate), next(rates))
                )
            merge = PatchMerging(channels[i - 1]) if i else nn.Identity()
            norm = nn.LayerNorm(dims) if i == stages - 1 else nn.Identity()
            scale = 2**i if position == 'spatial' else 1
            self.stages.append(LSGAStage(merge, blocks, norm, position, sigma / scale, with_cp))
        init_linears(self)
        for module in self.modules():
            if isinstance(module, SlotAttention):
                module.reset_value()
        self._freeze()

    def _check_center(self, sides: Sequence[int]) -> None:
        """Refuse even maps where the Gaussian would not be round the labelled pixel."""
        for _ in self.depths if self.centered else ():
            if any(side % 2 == 0 for side in sides):
                raise ValueError(
                    f"LSGAViT: position='flat' is for odd windows, but a map of {sides[0]}x"
                    f"{sides[1]} comes up: take odd windows, position='spatial', or "
                    'allow_off_center=True for files that were trained so'
                )
            sides = [ceil_div(side, 2) for side in sides]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute what ``out_type`` says."""
        self.check_input(x)
        if not is_capturing():
            self._check_center(x.shape[2:])
        center = x.shape[2] // 2, x.shape[3] // 2
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            if i:
                center = center[0] // 2, center[1] // 2
            x = stage(x, center)
            if i in self.out_indices:
                outs.append(stage.norm(x))
        if self.out_type == 'featmap':
            return tuple(out.permute(0, 3, 1, 2) for out in outs)
        if self.out_type == 'avg_featmap':
            return (outs[-1].mean((1, 2)),)
        return (outs[-1][:, center[0], center[1]],)

    def variants(self, state: Mapping[str, torch.Tensor]) -> dict[str, 'LSGAViT']:
        """Build the one network whose arguments a state in our layout shows; see the base class.

        Heads and the Gaussian are not shown; the model's own heads are taken where they divide.
        """
        blocks = [re.match(r'stages\.(\d+)\.blocks\.(\d+)\.norm1\.weight$', key) for key in state]
        blocks = [(int(block[1]), int(block[2])) for block in blocks if block]
        conv = state.get('stem.conv2d.weight')
        if not blocks or conv is None or conv.ndim != 4:
            return {}
        stages = 1 + max(stage for stage, _ in blocks)
        slots = state.get('stages.0.blocks.0.attn.slots')
        side = self.window_size if slots is None else round(len(slots) ** 0.5)
        kinds = {'slots': 'slots', 'paper': 'q.weight', 'self': 'qkv.weight'}
        names = [f'stages.0.blocks.0.attn.{name}' for name in kinds.values()]
        found = [kind for kind, name in zip(kinds, names, strict=True) if name in state]
        arguments = {
            'in_channels': conv.shape[1] // SPECTRAL_CHANNELS,
            'window_size': side,
            'embed_dims': conv.shape[0],
            'depths': tuple(sum(stage == i for stage, _ in blocks) for i in range(stages)),
            'attention': found[0] if found else 'slots',
        }
        with torch.device('meta'):
            model = type(self)(**arguments, num_heads=(1,) * stages, position='none')
        return {', '.join(f'{name}={value!r}' for name, value in arguments.items()): model}

    def adapt_tensor(
        self, name: str, value: torch.Tensor, like: torch.Tensor
    ) -> torch.Tensor | None:
        """Resize slots of another square window; see :class:`Backbone` for the input layer."""
        if not name.endswith('.attn.slots') or value.ndim != 2 or value.shape[1] != like.shape[1]:
            return super().adapt_tensor(name, value, like)
        side = round(value.shape[0] ** 0.5)
        if side**2 != value.shape[0]:
            return None
        window = self.get_submodule(name.removesuffix('.slots')).window
        return resize_slots(value, (side, side), window)
