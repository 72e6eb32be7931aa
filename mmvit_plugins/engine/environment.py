"""Is the installation fit for a config: hosts there, once each, torchvision and ops importable."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import torch

from ..registry import HOSTS, OPS_COMMAND, is_available
from .errors import UserError

# module -> the distributions that would each write it
OWNERS = {
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
    'mmseg': ('mmsegmentation', 'onedl-mmsegmentation'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
}


def check_environment(scope: str) -> None:
    """Refuse, in one sentence, an installation that cannot run configs of a host.

    Args:
        scope: The config's ``default_scope``, which is the host's import name.

    Raises:
        UserError: The host is missing, two distributions own one module, torchvision, which
            mmpretrain needs, cannot be imported with this torch, or mmcv's ops cannot; only
            mmdetection misses them where they were not built at all.
    """
    for module, owners in OWNERS.items():
        found = [name for name in owners if _installed(name)]
        if len(found) > 1:
            raise UserError(
                f"{' and '.join(found)} are both installed and overwrite each other's {module}; "
                f'repair it with: pip uninstall -y {" ".join(found)} && pip install --no-cache-dir '
                f'{found[-1]}'
            )
    if scope in HOSTS and not is_available(scope):
        project, command = HOSTS[scope]
        raise UserError(
            f"the config's default_scope is {scope}, but {project} is not installed: {command}"
        )
    if scope in HOSTS:
        _check_ops(scope)
    if scope == 'mmpretrain':
        try:
            import_module('torchvision')
        except Exception as error:  # a wrong pair raises RuntimeError, a missing one ImportError
            raise UserError(
                f'mmpretrain needs a torchvision that fits torch {_installed("torch")}, found '
                f'{_installed("torchvision") or "none"} ({str(error).splitlines()[0]}); install '
                'both at once from one index, as pinned in requirements.txt'
            ) from error


def _check_ops(scope: str) -> None:
    """Import mmcv's compiled ops; hosts other than mmdetection do without, but not with broken."""
    try:
        import_module('mmcv._ext')
    except ModuleNotFoundError as error:
        if scope == 'mmdet':
            found = _installed('onedl-mmcv')
            found = f'onedl-mmcv {found} without them' if found else 'no onedl-mmcv'
            raise UserError(
                f'mmdetection needs the compiled ops of mmcv, found {found}; get them with: '
                f'{OPS_COMMAND}'
            ) from error
    except ImportError as error:  # as of undefined symbols
        raise UserError(
            f"mmcv's compiled ops do not fit torch {torch.__version__} "
            f'({str(error).splitlines()[0]}); install those that do with: {OPS_COMMAND}'
        ) from error


def _installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
