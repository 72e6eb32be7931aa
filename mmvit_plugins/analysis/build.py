"""From a config file of any host, or the name of a peer, to a network that can be measured."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from ..engine.errors import UserError
from ..engine.runtime import load_config
from .peers import build_peer, is_peer


def load_model_config(path: str | Path) -> Config:
    """Read a config file that describes a model, or take the name of a peer for one.

    Raises:
        UserError: There is no such file, it has no ``model``, or its host is not installed.
    """
    if is_peer(str(path)):
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
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model = MODELS.build(cfg.model)
        if backbone_only:
            model = getattr(model, 'backbone', model)
    model = revert_sync_batchnorm(model)
    model.eval()  # some backbones of the hosts return None here
    return model


def is_two_stage(model: nn.Module) -> bool:
    """Tell whether a prediction of the model is more than one pass, as ``all_passes`` runs them."""
    return hasattr(model, 'all_passes')


def network(model: nn.Module, mode: str = 'tensor') -> Callable:
    """Return the function that maps an image batch to the model's output.

    Args:
        model: A host's model, or a plain module such as a backbone.
        mode: ``'tensor'``, the network without post-processing, of a classifier of two stages all
            its passes; ``'predict'``, with post-processing; ``'train'``, what is trained of the
            network, one pass. None contains the data preprocessor.

    Raises:
        ValueError: ``mode='predict'`` for a module that predicts nothing.
    """
    if is_two_stage(model) and mode == 'tensor':
        return model.all_passes
    if isinstance(model, BaseModel):
        return partial(model, mode='predict' if mode == 'predict' else 'tensor')
    if mode == 'predict':
        raise ValueError(
            f'{type(model).__name__} is no complete model, so mode={mode!r} is not possible; '
            "measure it in mode='tensor' or give a config of a segmentor or classifier"
        )
    return model


def input_shape(
    cfg: Config, shape: Sequence[int] | None = None
) -> tuple[tuple[int, int, int], str]:
    """Find the size of image that a config is made for.

    Args:
        cfg: Looked at in this order: the size of the data preprocessor, ``crop_size``, the last
            fixed size in the test pipeline, the windows of the test data, and else 512x512, or
            224x224 for a classifier.
        shape: Height and width (or one number for both) that go before all of these.

    Returns:
        tuple: The shape (C, H, W), and where it comes from.

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
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    if dataset.get('window_size'):
        return dataset.window_size, 'window_size of the test data'
    if 'peer' in cfg.model or ('backbone' in cfg.model and 'head' in cfg.model):
        return 224, 'default for classifiers'
    return 512, 'default'
