"""From a config file of any host, or the name of a peer, to a network that can be measured."""

import importlib
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from ..config import explained, load_config
from ..errors import UserError
from ..registry import is_available

# Libraries whose networks are measured by name, such as ``torchvision:swin_t``, without weights.
# timm is used nowhere else in this package, the extra ``benchmark`` installs it.
PEERS = ('torchvision', 'timm')


def load_model_config(path: str | Path) -> Config:
    """Read a config file that describes a model, or take the name of a peer for one.

    Raises:
        UserError: There is no such file, it has no ``model``, or its host is not installed.
    """
    if str(path).partition(':')[0] in PEERS:
        return Config(dict(model=dict(peer=str(path))))
    cfg = load_config(str(path))
    if not isinstance(cfg.get('model'), dict):
        raise UserError(
            f'config {str(path)!r} has no dict named "model", so nothing can be measured'
        )
    return cfg


def build_model(
    cfg: Config, backbone_only: bool = False, size: Sequence[int] = (224, 224)
) -> nn.Module:
    """Build the config's model in its own scope, in eval mode and with plain batch norm.

    The weights are those that the constructors draw; nothing is loaded or downloaded.

    Args:
        cfg: ``model`` is a segmentor, classifier or detector of a host, or a backbone by itself.
        backbone_only: Return the model's backbone alone.
        size: Height and width that a peer of one size is made for.
    """
    if 'peer' in cfg.model:
        model = build_peer(cfg.model.peer, size, maps=backbone_only)
    else:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')), explained(cfg):
            model = MODELS.build(cfg.model)
        if backbone_only:
            model = getattr(model, 'backbone', model)
    model = revert_sync_batchnorm(model)
    model.eval()  # some backbones of the hosts return None here
    return model


def build_peer(name: str, size: Sequence[int], maps: bool = False) -> nn.Module:
    """Build a network of another library with random weights.

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
    classic = library == 'torchvision'
    module = importlib.import_module('torchvision.models' if classic else 'timm')
    known = module.list_models(module=module) if classic else module.list_models()
    plain = model if classic else model.partition('.')[0]  # timm puts the weights behind a dot
    if plain not in known:
        close = ', '.join(get_close_matches(plain, known)) or f'see {library}.list_models()'
        raise UserError(f'{library} has no classifier named {plain!r}; close: {close}')
    if classic:
        network = module.get_model(model, weights=None)
        if not maps:
            return network
        if not isinstance(network, module.SwinTransformer | module.ConvNeXt):
            raise UserError(
                f'{name} has no list of stages to take maps from, only its Swin and ConvNeXt have '
                'one; measure it with its head'
            )
        return _Stages(*network.features)
    # built for another size, a network keeps its windows; resized later, it would scale them
    fixed = module.get_pretrained_cfg(model).fixed_input_size
    arguments = dict(img_size=tuple(size)) if fixed else {}
    if not maps:
        return module.create_model(model, **arguments)
    try:
        return module.create_model(model, features_only=True, **arguments)
    except RuntimeError as error:
        raise UserError(f'{name} has no maps ({error}); measure it with its head') from error


class _Stages(nn.Sequential):
    """Returns what every stage makes, where stems and downsampling alternate with stages."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = [x := part(x) for part in self]
        return tuple(maps[1::2])


def is_two_stage(model: nn.Module) -> bool:
    """Tell whether a prediction of the model is more than one pass, as ``all_passes`` runs them."""
    return hasattr(model, 'all_passes')


def is_detector(model: nn.Module) -> bool:
    """Tell whether a model is a detector of mmdetection, without importing it."""
    kinds = type(model).__mro__
    return isinstance(model, BaseModel) and any(k.__module__.startswith('mmdet.') for k in kinds)


def count_regions(model: Any) -> int:
    """Return how many regions a detector's second stage looks at; 0 if it has none."""
    if not is_detector(model) or not hasattr(getattr(model, 'rpn_head', None), 'prior_generator'):
        return 0
    return model.test_cfg.rpn.max_per_img if getattr(model, 'roi_head', None) else 0


def _detect(model: nn.Module, mode: str, x: Tensor) -> object:
    """Run a detector on ``(N, C, H, W)`` with what its data samples would say of whole pictures.

    Its own mode 'tensor' lets the second stage work on the regions that NMS leaves over, of weights
    at random any number. Here it gets as many as the config lets through, of all sizes.
    """
    size = tuple(x.shape[2:])
    shapes = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape', 'batch_input_shape'), size)
    samples = [
        BaseDataElement(metainfo=dict(img_id=0, scale_factor=(1.0, 1.0), **shapes)) for _ in x
    ]
    count = count_regions(model)
    if mode == 'predict' or not count:
        return model(x, samples, mode=mode)
    drawn = torch.rand(4, count, generator=torch.Generator().manual_seed(0)).to(x.device)
    sides = torch.tensor(size[::-1], device=x.device)[:, None]
    lengths = sides * 2 ** (-5 * drawn[:2])  # of whole pictures, and down to 1/32 of them
    starts = (sides - lengths) * drawn[2:]
    boxes = torch.cat((starts, starts + lengths)).T
    maps = model.extract_feat(x)
    regions = [InstanceData(bboxes=boxes) for _ in x]
    return model.rpn_head(maps), model.roi_head.forward(maps, regions, samples)


def network(model: Any, mode: str = 'tensor') -> Callable:
    """Return the function that maps an image batch to the model's output.

    Args:
        model: A host's model, or a plain module such as a backbone.
        mode: ``'tensor'``, the network without post-processing, of a classifier of two stages all
            its passes, of a detector of two stages the second one on as many regions as the config
            lets through; ``'predict'``, with post-processing; ``'train'``, what is trained of the
            network, one pass. None contains the data preprocessor.

    Raises:
        ValueError: ``mode='predict'`` for a module that predicts nothing.
    """
    if is_two_stage(model) and mode == 'tensor':
        return model.all_passes
    if isinstance(model, BaseModel):
        mode = 'predict' if mode == 'predict' else 'tensor'
        return partial(_detect, model, mode) if is_detector(model) else partial(model, mode=mode)
    if mode == 'predict':
        raise ValueError(
            f'{type(model).__name__} is no complete model, so mode={mode!r} is not possible; '
            "measure it in mode='tensor' or give a config of a segmentor, classifier or detector"
        )
    return model


def input_shape(
    cfg: Config, shape: Sequence[int] | None = None
) -> tuple[tuple[int, int, int], str]:
    """Find the size of image that a config is made for.

    Args:
        cfg: Looked at in this order: the size of the data preprocessor, ``crop_size``, the last
            fixed size in the test pipeline (of a detector the scale that pictures are fitted to, at
            most 8:5), the windows of the test data, and else 512x512, or 224x224 for a classifier.
        shape: Height and width (or one number for both) that go before all of these.

    Returns:
        The shape (C, H, W), and where it comes from.

    Raises:
        ValueError: ``shape`` is not one or two positive numbers.
    """
    model = cfg.model
    channels = model.get('backbone', model).get('in_channels', 3)
    size, source = _size(cfg) if shape is None else (shape, 'as asked')
    size = (size,) if isinstance(size, int) else tuple(size)
    if len(size) not in (1, 2) or any(side < 1 for side in size):
        raise ValueError(
            f'shape={size} is not allowed; give one or two positive numbers: height, width'
        )
    return (channels, size[0], size[-1]), source


def _size(cfg: Config) -> tuple[int | Sequence[int], str]:
    preprocessor = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    if preprocessor.get('size'):
        return preprocessor['size'], 'data_preprocessor.size'
    if cfg.get('crop_size'):
        return cfg.crop_size, 'crop_size'
    for step in reversed(cfg.get('test_pipeline') or []):
        kind = step['type'].rpartition('.')[2] if isinstance(step, ConfigDict) else ''
        if kind == 'CenterCrop':
            return step.crop_size, 'CenterCrop of the test pipeline'
        if kind == 'Resize' and not step.get('keep_ratio', False):
            scale = step.scale
            # scales are written as (width, height)
            return scale if isinstance(scale, int) else scale[::-1], 'Resize of the test pipeline'
        if kind == 'Resize' and cfg.get('default_scope') == 'mmdet':
            # 1333x800 bounds pictures of any shape; papers on detection count at 1280x800
            short, long = sorted(step.scale)
            return (short, min(long, short * 8 // 5)), 'Resize of the test pipeline, at most 8:5'
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    if dataset.get('window_size'):
        return dataset.window_size, 'window_size of the test data'
    if 'peer' in cfg.model or ('backbone' in cfg.model and 'head' in cfg.model):
        return 224, 'default for classifiers'
    return 512, 'default'
