"""The object where a frozen vision transformer looks: its attention weights, without training.

Source: Xu et al., Pattern Recognition 146 (2024) 110042: what a token receives of all attention,
added over queries, heads and layers, is its importance. Rollout: Abnar and Zuidema, ACL 2020.
"""

from collections.abc import Callable, Sequence

import torch
from einops import rearrange
from mmengine.model import BaseModule
from torch import nn

from ...registry import MODELS
from ..checks import check_options, check_size
from .sizes import resize_pictures

METHODS = ('sum', 'rollout')
QUERIES = ('patch', 'cls')
ATTENTION_PARTS = ('qkv', 'proj', 'gamma1')  # the last is mmpretrain's layer scale


class _Done(Exception):
    """Stops the network where the rest of it is not needed."""


@MODELS.register_module()
class AttentionLocalizer(BaseModule):
    """Read the importance of patches from a vision transformer: ``(N, C, H, W) -> (N, h, w)``.

    Fused attention never has its weights. They are computed anew from what ``attn.qkv`` gives, one
    layer at a time, at least in float32; the network stops after the last layer's. What the class
    token and others that are no patches receive is left out.

    The network is frozen: no gradients, and always in eval mode.

    Args:
        vit: Config of mmpretrain's ``VisionTransformer``, ``DistilledVisionTransformer`` or another
            network with ``layers[i].attn.qkv`` (a linear layer), ``layers[i].attn.num_heads`` and
            ``num_extra_tokens`` (the class token first, then others, then the patches), whose first
            convolution cuts the patches. Its ``init_cfg`` says where its weights are.
        size: Side, or height and width, to which pictures are
            resized for it; None: as they come. To another size than it was built for, mmpretrain's
            networks resize their position embedding.
        mean: Mean of each channel in the statistics that its weights
            expect, None for those of the classifier. The classifier adapts the pictures.
        std: Deviation of each channel; given if ``mean`` is.
        method: 'sum' adds the weights of all layers, as the paper; 'rollout' multiplies
            ``(A + I) / 2`` of all layers, A the mean over the heads.
        queries: 'patch' counts the attention of all patches, 'cls' that of the class token.
        init_cfg: mmengine's initialisation.

    Attributes:
        needs_maps: False: it is called with pictures, not with the classifier's maps.

    Raises:
        ValueError: For a wrong argument or another kind of network, naming what is allowed.
    """

    needs_maps = False

    def __init__(
        self,
        vit: dict,
        size: int | Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        method: str = 'sum',
        queries: str = 'patch',
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_options('AttentionLocalizer', method=(method, METHODS), queries=(queries, QUERIES))
        if (mean is None) != (std is None):
            raise ValueError(
                f'AttentionLocalizer: mean={mean!r} and std={std!r} came; give both or neither'
            )
        self.size = None if size is None else check_size('AttentionLocalizer', 'size', size)
        self.mean = mean
        self.std = std
        self.method = method
        self.queries = queries
        self.vit = MODELS.build(vit)
        _check_network(self.vit)
        if queries == 'cls' and not self.vit.num_extra_tokens:
            raise ValueError(
                "AttentionLocalizer: queries='cls' needs a class token, but the network has none; "
                "use queries='patch'"
            )
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> 'AttentionLocalizer':
        """Stay in eval mode, whichever is asked for."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the response to pictures ``(N, C, H, W)``, normalised as the weights expect.

        Returns:
            ``(N, h, w)``, float32, one value for each patch: what it receives, in the
            mean over layers and heads (and, for 'cls', times the number of patches). The mean
            over the patches is 1, less what other tokens receive.

        Raises:
            ValueError: If a picture is smaller than a patch or has other channels.
        """
        x = resize_pictures(x, self.size)
        patches, extra = _patches(self.vit), self.vit.num_extra_tokens
        least = (patches.in_channels, *patches.kernel_size)
        if x.ndim != 4 or x.shape[1] != least[0] or x.shape[2] < least[1] or x.shape[3] < least[2]:
            raise ValueError(
                f'AttentionLocalizer: its network gets pictures of the shape {tuple(x.shape)}, but '
                'takes (N, {}, H, W) with H >= {} and W >= {}, its patch; give others or set '
                'size'.format(*least)
            )
        rows = slice(1) if self.queries == 'cls' else slice(extra, None)
        total = None

        def add_layer(qkv: torch.Tensor, heads: int) -> None:
            nonlocal total
            if self.method == 'sum':
                new = _weights(qkv, heads, rows).mean(dim=(1, 2))
                total = new if total is None else total + new
            else:
                new = _weights(qkv, heads).mean(dim=1)
                new = (new + torch.eye(new.shape[1], device=new.device, dtype=new.dtype)) / 2
                total = new if total is None else new @ total

        height, width = _run(self.vit, x, add_layer)
        total = total / len(self.vit.layers) if self.method == 'sum' else total[:, rows].mean(dim=1)
        return (total[:, extra:] * height * width).unflatten(1, (height, width)).float()


def _run(
    vit: nn.Module, x: torch.Tensor, add_layer: Callable[[torch.Tensor, int], None]
) -> torch.Size:
    """Run a network up to the queries and keys of its last layer.

    Args:
        vit: The network.
        x: ``(N, C, H, W)``.
        add_layer: Called without autocast for each layer, with what its ``attn.qkv``
            gives, ``(N, L, 3 heads d)``, and the number of heads.

    Returns:
        Height and width of the grid of patches.

    Raises:
        ValueError: If it runs in another way than a plain vision transformer.
    """
    layers, name = vit.layers, type(vit).__name__
    grid, seen = torch.Size(), 0

    def note_grid(module: nn.Module, args: tuple, out: torch.Tensor) -> None:
        nonlocal grid
        grid = out.shape[2:]

    def pass_on(module: nn.Module, args: tuple, qkv: torch.Tensor) -> None:
        nonlocal seen
        if qkv.ndim != 3 or qkv.shape[1] != vit.num_extra_tokens + grid.numel():
            raise ValueError(
                f'AttentionLocalizer: attn.qkv of {name} gives {tuple(qkv.shape)}, but needed is '
                f'one row for each of {tuple(grid)} patches and of {vit.num_extra_tokens} other '
                'tokens; use a plain vision transformer'
            )
        with torch.autocast(qkv.device.type, enabled=False):
            add_layer(qkv, layers[seen].attn.num_heads)
        seen += 1
        if seen == len(layers):
            raise _Done

    # Calls of the network, its last layer and that layer's attention never begin, only what is in
    # them: an exception that ends a call confuses tracers, who count calls that begin and end.
    def run_alone(layer: nn.Module, args: tuple) -> None:
        layer.forward(*args)

    def run_qkv(attn: nn.Module, args: tuple) -> None:
        attn.qkv(args[0])

    hooks = [
        _patches(vit).register_forward_hook(note_grid),
        *(layer.attn.qkv.register_forward_hook(pass_on) for layer in layers),
        layers[-1].register_forward_pre_hook(run_alone, prepend=True),
        layers[-1].attn.register_forward_pre_hook(run_qkv, prepend=True),
    ]
    try:
        vit.forward(x)
    except _Done:
        return grid
    finally:
        for hook in hooks:
            hook.remove()
    raise ValueError(
        f'AttentionLocalizer: {name} calls attn.qkv of {seen} layers instead of its {len(layers)}; '
        'use a plain vision transformer'
    )


def _weights(qkv: torch.Tensor, heads: int, rows: slice = slice(None)) -> torch.Tensor:
    """Compute attention weights ``(N, heads, len(rows), L)`` from ``(N, L, 3 heads d)``."""
    qkv = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
    q, k, _ = rearrange(qkv, 'n l (qkv h d) -> qkv n h l d', qkv=3, h=heads)
    return (q[:, :, rows] * q.shape[-1] ** -0.5 @ k.mT).softmax(dim=-1)


def _patches(vit: nn.Module) -> nn.Conv2d | None:
    """Find the convolution that cuts the patches, the network's first."""
    return next((m for m in vit.modules() if isinstance(m, nn.Conv2d)), None)


def _check_network(vit: nn.Module) -> None:
    """Refuse networks whose attention weights are not the softmax of ``q k / sqrt(d)``.

    What an attention holds besides its linear layers, such as a table of relative positions, norms
    of q and k or angles of a rotation, changes the weights.

    Raises:
        ValueError: It is one of those.
    """
    layers = getattr(vit, 'layers', ())
    attentions = [getattr(layer, 'attn', None) for layer in layers]
    fits = bool(attentions) and _patches(vit) is not None and hasattr(vit, 'num_extra_tokens')
    for attn in attentions:
        fits = fits and isinstance(getattr(attn, 'qkv', None), nn.Linear)
        fits = fits and hasattr(attn, 'num_heads')
        fits = fits and all(
            name.split('.')[0] in ATTENTION_PARTS
            for name in (*dict(attn.named_parameters()), *dict(attn.named_buffers()))
        )
    if not fits:
        raise ValueError(
            f'AttentionLocalizer: {type(vit).__name__} came, but a plain vision transformer is '
            'needed, with layers[i].attn of one linear layer qkv, of num_heads and of no position '
            'bias, norm or rotation, with num_extra_tokens, and with a convolution that cuts '
            'patches; use mmpretrain.VisionTransformer or mmpretrain.DistilledVisionTransformer'
        )
