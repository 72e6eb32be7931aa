"""Opens a config file, on an installation that can run it, and says what is wrong with it."""

from collections.abc import Collection, Mapping
from typing import Any

from mmengine.config import Config

from ..environment import check_environment, import_host
from ..errors import UserError
from ..ops import check_operators
from .building import builds, explained
from .classes import check_classes, check_same_classes, check_tested
from .crop import read_with_crop
from .files import check_texts
from .names import check_names
from .numbers import check_model
from .options import apply_options
from .registries import check_scope
from .runs import check_run, check_training

__all__ = [
    'MODEL',
    'TEST',
    'TRAIN',
    'VALIDATE',
    'builds',
    'check_classes',
    'check_run',
    'check_same_classes',
    'check_tested',
    'check_training',
    'explained',
    'load_config',
]

# what is built of a config
MODEL = ('model', 'data_preprocessor')
RUN = (
    *MODEL,
    'default_hooks',
    'custom_hooks',
    'visualizer',
    'log_processor',
    'env_cfg',
    'randomness',
)
TRAIN = (*RUN, 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'train_dataloader', 'train_cfg')
VALIDATE = ('val_dataloader', 'val_cfg', 'val_evaluator')
TEST = (*RUN, 'test_dataloader', 'test_cfg', 'test_evaluator')


def load_config(
    path: str, options: Mapping[str, Any] | None = None, parts: Collection[str] = MODEL
) -> Config:
    """Load a config file, replace settings, and check that they and the installation can be used.

    Args:
        path: The config file.
        options: Settings that replace those of the config, by their paths.
        parts: The settings at its top that will be built; what is below them, and what the options
            set, is compared with what will read it.

    Raises:
        UserError: The file cannot be read, a setting or a type does not exist, or the installation
            cannot run it.
        OperatorError: The model names an operator of mmcv that is not there.
    """
    cfg, options = read_with_crop(path, options or {})
    apply_options(cfg, options)
    check_texts(cfg._cfg_dict)
    scope = cfg.get('default_scope', 'mmengine')
    if fault := check_scope(scope):
        raise UserError(fault)
    check_environment(scope)
    import_host(scope)
    check_names(cfg, parts, options)
    check_model(cfg)
    if scope == 'mmdet':
        check_operators(cfg.get('model') or {})
    return cfg
