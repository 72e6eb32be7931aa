"""Keeping what is costly to make and seldom changes."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from .sizes import is_capturing

Value = TypeVar('Value', bound=Any)


class Cache(nn.Module):
    """One value, made again when what it was made from has changed. No gradient flows through it.

    Tensors count as changed when they are written to or exchanged. A write through ``.data`` cannot
    be seen: as a child of the module that uses it, this clears itself on every ``train()`` and
    ``eval()``, which the hosts call where they exchange weights. Nothing is kept while a graph is
    captured, or of tensors without memory, or of those that inference mode made: these do not tell
    when they are written to.

    Args:
        limit: Most elements of a tensor that is kept; larger ones are made anew.
    """

    def __init__(self, limit: int | None = None):
        super().__init__()
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Drop the value."""
        self.made_from = self.value = None

    def train(self, mode: bool = True) -> 'Cache':
        """Clear."""
        self.clear()
        return super().train(mode)

    def forward(self, make: Callable[[], Value], *made_from: object) -> Value:
        """Hand out the value, after making it if need be."""
        if is_capturing():
            return make()
        key = [_fingerprint(x) if isinstance(x, torch.Tensor) else x for x in made_from]
        if None in key:
            return make()
        if self.made_from == key:
            return self.value
        # what inference mode makes, training could not use later
        with torch.inference_mode(False), torch.no_grad():
            value = make()
        if self.limit is None or value.numel() <= self.limit:
            self.made_from, self.value = key, value
        else:
            self.clear()
        return value


def _fingerprint(x: torch.Tensor) -> tuple | None:
    if type(x) not in (torch.Tensor, nn.Parameter) or x.is_meta or x.is_inference():
        return None
    return x.data_ptr(), x._version, x.dtype, x.device
