"""Convolution, batch normalisation, activation: the unit of every convolutional stem."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

NORMS = {'BN': nn.BatchNorm2d, 'SyncBN': nn.SyncBatchNorm}


def build_norm(norm_cfg: dict | None, channels: int) -> nn.Module:
    """Build a batch norm over ``channels`` from the hosts' ``norm_cfg``.

    Args:
        norm_cfg: ``type`` ('BN' or 'SyncBN'), ``requires_grad``, and the arguments
            of the torch class, such as ``eps`` and ``momentum``. ``None`` is plain ``BN``.
        channels: Number of channels.

    Raises:
        ValueError: For another ``type``.
    """
    options = dict(norm_cfg or {'type': 'BN'})
    kind = options.pop('type', None)
    if kind not in NORMS:
        raise ValueError(f'norm_cfg type={kind!r} is unknown; choose from {sorted(NORMS)}')
    requires_grad = options.pop('requires_grad', True)
    norm = NORMS[kind](channels, **options)
    norm.requires_grad_(requires_grad)
    return norm


class ConvNormAct(nn.Module):
    """Convolution without bias, batch norm, activation: ``(N, C, H, W) -> (N, C', H', W')``.

    Padding is ``kernel_size // 2``, so a stride s gives ``ceil(H / s)`` rows.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel_size: An odd kernel size.
        stride: The stride.
        groups: Groups of the convolution.
        norm_cfg: See :func:`build_norm`.
        act: The activation's module; none by default.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm_cfg: dict | None = None,
        act: nn.Module | None = None,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = build_norm(norm_cfg, out_channels)
        self.act = act or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, normalise, activate."""
        return self.act(self.norm(self.conv(x)))

    def fuse(self) -> None:
        """Fold the norm's running statistics into the convolution, for inference only."""
        if not isinstance(self.norm, nn.Identity):
            self.conv = fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()
            if hasattr(self.act, 'inplace'):
                self.act.inplace = True
