"""Networks of torchvision and timm by name, such as ``torchvision:swin_t``, to measure against.

They come without weights. A library is imported when a name of it is asked for; timm is used
nowhere else in this package, the extra ``benchmark`` installs it.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import Tensor, nn

from ..errors import UserError
from ..registry import is_available


def is_peer(name: str) -> bool:
    """Tell whether a name is one of ``torchvision:...`` and ``timm:...``."""
    return name.partition(':')[0] in BUILDERS


def build_peer(name: str, size: Sequence[int], maps: bool = False) -> nn.Module:
    """Build a network with random weights.

    Args:
        name: ``torchvision:`` or ``timm:``, and the library's own name of a classifier.
        size: Height and width of the image; of use to networks of timm that are made for one size.
        maps: Leave out the head and return the maps of all stages, as the library has them: neither
            library norms them, and the maps of Swin are (N, H, W, C) in both.

    Raises:
        UserError: The library is not installed, it has no such network, or that has no maps.
    """
    library, _, model = name.partition(':')
    if not is_available(library):
        raise UserError(
            f'{name} needs {library}, which is not installed: '
            'pip install "mmvit_plugins[benchmark]"'
        )
    return BUILDERS[library](model, size, maps)


def _torchvision(name: str, size: Sequence[int], maps: bool) -> nn.Module:
    from torchvision import models

    _check('torchvision', name, models.list_models(module=models))
    model = models.get_model(name, weights=None)
    if not maps:
        return model
    if not isinstance(model, models.SwinTransformer | models.ConvNeXt):
        raise UserError(
            f'torchvision:{name} has no list of stages to take maps from, only its Swin and '
            'ConvNeXt have one; measure it with its head'
        )
    return _Stages(model.features)


def _timm(name: str, size: Sequence[int], maps: bool) -> nn.Module:
    import timm

    _check('timm', name.partition('.')[0], timm.list_models())
    # built for another size, a network keeps its windows; resized later, it would scale them
    fixed = timm.get_pretrained_cfg(name).fixed_input_size
    arguments = dict(img_size=tuple(size)) if fixed else {}
    if not maps:
        return timm.create_model(name, **arguments)
    try:
        return timm.create_model(name, features_only=True, **arguments)
    except RuntimeError as error:
        raise UserError(f'timm:{name} has no maps ({error}); measure it with its head') from error


BUILDERS = {'torchvision': _torchvision, 'timm': _timm}


def _check(library: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = ', '.join(get_close_matches(name, known)) or f'see {library}.list_models()'
        raise UserError(f'{library} has no classifier named {name!r}; close: {close}')


class _Stages(nn.Module):
    """Returns what every stage makes, where stems and downsampling alternate with stages."""

    def __init__(self, parts: nn.Sequential):
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for part in self.parts:
            x = part(x)
            maps.append(x)
        return tuple(maps[1::2])
