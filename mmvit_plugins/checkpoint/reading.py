"""Reading a checkpoint file, and finding the weights in it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader

# Entries under which training scripts keep the weights, the first found is taken.
WRAPPERS = ('state_dict', 'model', 'state_dict_ema', 'ema_state_dict', 'model_ema', 'module')


class CheckpointFileError(ValueError):
    """A file that cannot be read as a checkpoint."""


def read_checkpoint(path: str | Path) -> dict:
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
    for key in WRAPPERS:
        if isinstance(checkpoint.get(key), Mapping):
            return unwrap(checkpoint[key])
    return checkpoint


def tensors(state: Mapping, prefix: str = '') -> dict[str, torch.Tensor]:
    """Take the tensors whose keys begin with ``prefix``, which is cut off."""
    return {
        key[len(prefix) :]: value
        for key, value in state.items()
        if isinstance(key, str) and key.startswith(prefix) and isinstance(value, torch.Tensor)
    }
