"""Reading a checkpoint file, and finding the weights in it."""

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_from_http, load_from_local

from ..converters import CONVERTERS
from .plain import CheckpointFileError, damaged

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
    except CheckpointFileError:
        raise
    except Exception as error:  # other loaders of mmengine's raise many kinds
        raise damaged(path, error) from error
    if not isinstance(checkpoint, Mapping) or not tensors(unwrap(checkpoint)):
        raise CheckpointFileError(
            f'{path}: a {type(checkpoint).__name__} without weights, where a state dict or a '
            f'checkpoint with an entry of {WRAPPERS} is needed'
        )
    check_weights(unwrap(checkpoint), path)
    return checkpoint


def check_weights(state: Mapping, name: str) -> None:
    """Refuse weights that no network can work with.

    Args:
        state: A state dict.
        name: Of the file, for messages.

    Raises:
        CheckpointFileError: Numbers are NaN or infinite, complex, whole where a weight is needed,
            or there are none (PyTorch's meta device).
    """
    arrays = [key for key, value in state.items() if isinstance(value, np.ndarray)]
    if arrays:
        raise CheckpointFileError(
            f'{name}: {arrays[0]} is an array of NumPy, where a tensor is needed: save '
            'torch.from_numpy of each'
        )
    for key, value in tensors(state).items():
        learned = key.endswith(('weight', 'bias'))
        if value.is_meta:
            problem = "is on PyTorch's meta device, which has sizes but no data"
        elif value.is_complex():
            problem = f'holds complex numbers ({value.dtype})'
        elif value.is_quantized:
            problem = f'is quantised ({value.dtype}), where a float is needed (dequantize())'
        elif learned and not value.numel():
            problem = f'has the size {tuple(value.shape)}, no number is in it'
        elif learned and not value.is_floating_point():
            problem = f'holds integers ({value.dtype}), which would be rounded weights'
        elif value.is_floating_point() and 'mask' not in key and not _is_finite(value):
            problem = 'holds numbers that are not finite (NaN or infinite)'
        else:
            continue
        raise CheckpointFileError(
            f'{name}: {key} {problem}: take a checkpoint from before that happened'
        )


def _is_finite(value: torch.Tensor) -> bool:
    if value.is_sparse:
        value = value.coalesce().values()
    if value.layout == torch.strided and 0 in value.stride():
        value = value[tuple(slice(1) if not step else slice(None) for step in value.stride())]
    if value.element_size() == 1:  # of 8 bits, which torch compares on few machines
        value = value.float()
    return bool(torch.isfinite(value).all())


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
        checkpoint = load(filename, map_location)
        if not isinstance(checkpoint, Mapping):
            return checkpoint
        meta = checkpoint.get('meta')
        if isinstance(meta, Mapping) and 'config' in meta:
            # mmengine would run it as a program when it resumes; it writes none itself
            meta = {key: value for key, value in meta.items() if key != 'config'}
            checkpoint = {**checkpoint, 'meta': meta}
        if not _holds_ours(checkpoint):
            return checkpoint
        entries, weights = _entries(checkpoint), unwrap(checkpoint)
        check_weights(weights, filename)
        if entries[:1] == ['state_dict'] and _is_regular(weights):
            return _with_meta(checkpoint, filename)
        rest = {k: v for k, v in checkpoint.items() if k not in entries} if entries else {}
        weights = {key: value for key, value in weights.items() if isinstance(key, str)}
        return _with_meta({**rest, 'state_dict': weights}, filename)

    return loader


def _is_regular(state: Mapping) -> bool:
    """Tell whether names are texts, and the versions of modules that torch adds are dicts."""
    versions = getattr(state, '_metadata', {})
    return all(isinstance(key, str) for key in state) and (
        isinstance(versions, Mapping) and all(isinstance(x, Mapping) for x in versions.values())
    )


def _with_meta(checkpoint: Mapping, name: str) -> Mapping:
    """Leave out what is no dict of what a file says of itself, with a warning."""
    meta: Any = checkpoint.get('meta', {})
    if not isinstance(meta, Mapping):
        what, value, meta = 'meta', meta, {}
    elif not isinstance(meta.get('dataset_meta', {}), Mapping):
        what, value = 'meta.dataset_meta', meta['dataset_meta']
        meta = {key: value for key, value in meta.items() if key != 'dataset_meta'}
    else:
        return checkpoint
    report = f'{name}: {what} is {value!r:.80}, where a dict is needed: left out'
    print_log(report, 'current', logging.WARNING)
    return {**checkpoint, 'meta': meta}


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
