"""Loading for results: a model of which a part would stay random is refused."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from .loading import CheckpointMismatchError
from .reading import read_checkpoint, tensors, unwrap

STATISTICS = ('running_mean', 'running_var')


@contextmanager
def whole(model: nn.Module, checkpoint: str) -> Iterator[None]:
    """See to it that what is loaded inside leaves no weight of a model as it was.

    Every weight is set to NaN first, so whatever loads, by whatever names, what it leaves out
    shows.

    Args:
        model: A model that has been built; its weights are lost.
        checkpoint: The file that is loaded, for the message.

    Raises:
        CheckpointMismatchError: Weights are not in the file, or have another size there.
    """
    states = dict(model.named_parameters())
    states |= {k: v for k, v in model.named_buffers() if k.endswith(STATISTICS)}
    states = {k: v for k, v in states.items() if v.is_floating_point()}
    with torch.no_grad():
        for value in states.values():
            value.fill_(torch.nan)
    yield
    left = [key for key, value in states.items() if torch.isnan(value).any()]
    if left:
        raise CheckpointMismatchError(_explain(left, states, checkpoint))


def fitting_meta(model: nn.Module, checkpoint: Mapping, name: str) -> Mapping:
    """Return what a checkpoint says of its data set if that fits the model, else nothing.

    A list of classes of another length than the model's is told in a warning.

    Args:
        model: The model that the checkpoint is for.
        checkpoint: The content of the file.
        name: The file.
    """
    meta = checkpoint.get('meta')
    found = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    names, count = found.get('classes'), _count_classes(model)
    if names is None or (isinstance(names, list | tuple) and count in (None, len(names))):
        return found
    what = f'classes={names!r:.80}, which is no list of names'
    if isinstance(names, list | tuple):
        some = ', '.join(map(str, names[:5]))
        what = f'{len(names)} classes ({some}), but the model has {count}'
    report = f'{name}: names {what}: its names are left out'
    print_log(report, 'current', logging.WARNING)
    return {}


def _count_classes(model: Any) -> int | None:
    """Return how many classes the last head of a host's model tells apart, if it says so."""
    for path in ('decode_head', 'roi_head.bbox_head', 'bbox_head', 'head'):
        head = model
        for part in path.split('.'):
            head = getattr(head, part, None)
        if isinstance(head, nn.ModuleList):  # a cascade
            head = head[-1]
        count = getattr(head, 'num_classes', None)
        if isinstance(count, int):
            return count
    return None


def _explain(left: list[str], states: dict[str, torch.Tensor], checkpoint: str) -> str:
    """Say what a file lacks, and what it has in its place."""
    first, found = left[0], tensors(unwrap(read_checkpoint(checkpoint)))
    what = f'{len(left)} of the {len(states)} weights of the model are not in the file, as {first}'
    for key, value in found.items():
        if first.endswith(key) or key.endswith(first):
            what = (
                f'{first} is {tuple(states[first].shape)} in the model and {tuple(value.shape)} in '
                'the file'
            )
            if key.endswith('weight') and value.shape[1:] == states[first].shape[1:]:
                what += f': {len(states[first])} classes against {len(value)}'
    return (
        f'{checkpoint}: {what}; results of a network that is random in part mean nothing: give a '
        'checkpoint of the whole model, and the config that it was trained with'
    )
