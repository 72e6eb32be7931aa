"""Reading a checkpoint file, and finding the weights in it."""

import argparse
import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_http, load_from_local

from ..converters import CONVERTERS

# Entries under which timm's training script and its descendants keep weights averaged over the
# training: the numbers that they publish are of these, and timm itself loads them by default.
AVERAGED = ('state_dict_ema', 'model_ema')
# Entries under which training scripts keep the weights, the first found is taken. mmengine's
# EMAHook saves the averaged weights as ``state_dict`` and the plain ones as ``ema_state_dict``.
WRAPPERS = (*AVERAGED, 'state_dict', 'model', 'ema_state_dict', 'module')
# What our models' weights are known by, in any layout, at the end of a key.
ANCHORS = tuple(
    anchor for layouts in CONVERTERS.values() for layout in layouts for anchor in layout.anchors
)


class _Settings:
    """Stands for yacs's ``CfgNode``, which need not be installed: its content is read plainly."""

    __module__ = 'yacs.config'

    def __new__(cls) -> OrderedDict:
        """Make what torch fills without running any code of the file's."""
        return OrderedDict()


_Settings.__name__ = _Settings.__qualname__ = 'CfgNode'
# timm's files hold the arguments of the run, those of the official Swin code its settings, those of
# a segmentor's run scores in float32: without this, mmengine would warn at length and fall back to
# unpickling anything.
HARMLESS = [argparse.Namespace, _Settings, type(np.dtype('float32'))]


class CheckpointFileError(ValueError):
    """A file that cannot be read as a checkpoint."""


def read_checkpoint(path: str | Path) -> Mapping:
    """Read a checkpoint file to the CPU through mmengine's loader.

    Raises:
        CheckpointFileError: If it is missing, empty, truncated or not a checkpoint, in one
            sentence.
    """
    path = str(path)
    local = '://' not in path
    if local and not Path(path).is_file():
        raise CheckpointFileError(f'{path}: there is no such checkpoint file')
    if local and Path(path).stat().st_size == 0:
        raise CheckpointFileError(
            f'{path}: the checkpoint file is empty, train or download it again'
        )
    try:
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu', logger='silent')
    except Exception as error:  # torch raises half a dozen types for what is no checkpoint
        reason = (
            str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        )
        raise CheckpointFileError(
            f'{path}: not readable as a PyTorch checkpoint (truncated, or another kind of file): '
            f'{reason}'
        ) from error
    if not isinstance(checkpoint, Mapping) or not tensors(unwrap(checkpoint)):
        raise CheckpointFileError(
            f'{path}: a {type(checkpoint).__name__} without weights, where a state dict or a '
            f'checkpoint with an entry of {WRAPPERS} is needed'
        )
    return checkpoint


def unwrap(checkpoint: Mapping) -> Mapping:
    """Go down to the weights: the first of ``WRAPPERS`` that holds a mapping, again and again."""
    entries = _entries(checkpoint)
    if not entries:
        return checkpoint
    if len(entries) > 1 and entries[0] in AVERAGED:
        print_log(f'checkpoint: {entries[0]} taken, of {", ".join(entries)}', logger='current')
    return unwrap(checkpoint[entries[0]])


def _entries(checkpoint: Mapping) -> list[str]:
    return [key for key in WRAPPERS if isinstance(checkpoint.get(key), Mapping) and checkpoint[key]]


def _holds_ours(checkpoint: Mapping) -> bool:
    return any(isinstance(key, str) and key.endswith(ANCHORS) for key in checkpoint) or any(
        _holds_ours(checkpoint[entry]) for entry in _entries(checkpoint)
    )


def _finding_weights(load: Callable) -> Callable:
    """Make a loader of mmengine hand out our models' weights as ``state_dict``, where all look.

    mmengine's loading takes ``state_dict`` before any module sees the file, so averaged weights
    beside it would never be found. Files of other models pass as they are.
    """

    @functools.wraps(load)
    def loader(filename: str, map_location: object = None) -> object:
        with torch.serialization.safe_globals(HARMLESS):
            checkpoint = load(filename, map_location)
        if not isinstance(checkpoint, Mapping) or not _holds_ours(checkpoint):
            return checkpoint
        entries, weights = _entries(checkpoint), unwrap(checkpoint)
        if entries[:1] == ['state_dict']:
            return checkpoint
        rest = {k: v for k, v in checkpoint.items() if k not in entries} if entries else {}
        return {**rest, 'state_dict': weights}

    return loader


CheckpointLoader.register_scheme('', _finding_weights(load_from_local), force=True)
CheckpointLoader.register_scheme(
    ('http://', 'https://'), _finding_weights(load_from_http), force=True
)


def tensors(state: Mapping, prefix: str = '') -> dict[str, torch.Tensor]:
    """Take the tensors whose keys begin with ``prefix``, which is cut off."""
    return {
        key[len(prefix) :]: value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(prefix) and isinstance(value, torch.Tensor)
    }
