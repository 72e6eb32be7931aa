"""Is the machine fit: hosts installed once each, torchvision importable, the device there."""

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

import torch

from .errors import UserError
from .registry import HOSTS, is_available

# what hosts print when they are imported: a private cloud's data sets, another scorer of boxes
UNASKED = 'Could not import OneDL|faster_coco_eval is not installed'

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
        UserError: The host is missing, two distributions own one module, or torchvision, which
            mmpretrain and mmdetection need, cannot be imported with this torch.
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
    if scope in ('mmpretrain', 'mmdet'):
        try:
            import_module('torchvision')
        except Exception as error:  # a wrong pair raises RuntimeError, a missing one ImportError
            raise UserError(
                f'{HOSTS[scope][0]} needs a torchvision that fits torch {_installed("torch")}, '
                f'found {_installed("torchvision") or "none"} ({str(error).splitlines()[0]}); '
                'install both at once from one index, as pinned in requirements.txt'
            ) from error


def find_device(name: str | torch.device | None = None) -> torch.device:
    """Return a device that works.

    Args:
        name: As ``cuda:0``; by default the GPU if there is one, else the CPU.

    Raises:
        UserError: There is no such device here.
    """
    if name is None:
        return torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')
    try:
        torch.zeros(1, device=name).cpu()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError) as error:  # an assertion: built without CUDA
        count = torch.cuda.device_count()
        known = [f'cuda:0 to cuda:{count - 1}'] if count > 1 else ['cuda:0'] * count
        raise UserError(
            f'there is no device {str(name)!r} here that can be used: give '
            f'{" or ".join(["cpu", *known])}'
        ) from error
    return torch.device(name)


def import_host(scope: str) -> None:
    """Import a host without the lines that it prints about what nobody asked for.

    Args:
        scope: Its import name; what is no host is left alone.
    """
    if scope not in HOSTS:
        return
    said = _Without(UNASKED, sys.stdout)
    with warnings.catch_warnings(), redirect_stdout(said):
        warnings.filterwarnings('ignore', UNASKED)
        for part in ('datasets', 'evaluation', 'models'):
            import_module(f'{scope}.{part}')
    sys.stdout.write(said.started)


class _Without:
    """A stream without the lines that match a pattern; ``started`` is a line without its end."""

    def __init__(self, pattern: str, stream: TextIO) -> None:
        self.pattern, self.stream, self.started = re.compile(pattern), stream, ''

    def write(self, text: str) -> int:
        *lines, self.started = (self.started + text).split('\n')
        for line in lines:
            if not self.pattern.match(line):
                self.stream.write(f'{line}\n')
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


def owners() -> Iterator[tuple[str, str]]:
    """Yield the import name of each part of the family and the distribution that brought it."""
    for module, names in OWNERS.items():
        found = [name for name in names if _installed(name)]
        if found:
            yield module, found[-1]


def _installed(distribution: str) -> str | None:
    """Return the version of an installed distribution, None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
