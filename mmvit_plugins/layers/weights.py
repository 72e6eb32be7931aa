"""How the backbones' layers begin."""

from torch import nn


def init_linears(module: nn.Module) -> None:
    """Draw every linear layer from a truncated normal of 0.02, with zero biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _init_linear(layer)


def init_weights(module: nn.Module) -> None:
    """Draw linear layers as :func:`init_linears` does, and every convolution by its fan-out.

    A convolution's standard deviation is ``sqrt(2 / fan_out)`` (He et al., ICCV 2015); its fan-out
    is kernel area times output channels over groups. Biases are zero. The layers are drawn in the
    order in which they stand, so that a seed gives the same weights as ever.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            _init_linear(layer)
        elif isinstance(layer, nn.Conv2d):
            fan_out = layer.weight[0, 0].numel() * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, std=(2 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _init_linear(layer: nn.Linear) -> None:
    nn.init.trunc_normal_(layer.weight, std=0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
