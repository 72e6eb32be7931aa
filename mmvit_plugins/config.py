"""Opens a config file, on an installation that can run it."""

from pathlib import Path

from mmengine.config import Config

from .environment import check_environment, import_host
from .errors import UserError
from .ops import check_operators


def load_config(path: str, options: dict | None = None) -> Config:
    """Load a config file, replace settings, and check that the installation can run it.

    Raises:
        UserError: The file does not exist, or the installation cannot run it.
        OperatorError: The model names an operator of mmcv that is not there.
    """
    if not Path(path).is_file():
        raise UserError(f'the config {path} does not exist')
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    scope = cfg.get('default_scope', 'mmengine')
    check_environment(scope)
    import_host(scope)
    if scope == 'mmdet':
        check_operators(cfg.get('model') or {})
    return cfg
