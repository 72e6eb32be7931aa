"""The matrix products of a network by themselves: the floor under its time.

What a network takes above this floor goes into what stands around its products, normalisation,
softmax, activations and moving data, and is all that another arrangement of the same work can save.
"""

from collections.abc import Callable, Iterable
from math import prod

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class MatrixProducts:
    """Runs the matrix products of a network, one after the other, and nothing else.

    These are its linear layers and products of tensors, fused attention as two products, and
    convolutions as the product of the unfolded map with their kernels. What gives a single column
    (or, in each group of a convolution, a single channel) is none: that is a sum or a filter.

    Every weight is the network's own, cold in the caches as it is there. Other operands are shared
    by all products that have the same shape, warm in the caches as fresh activations are.

    Args:
        run: Runs the network once, forward only.
        weights: The network's parameters and buffers.

    Attributes:
        flops: Multiply-adds of one call.
        nbytes: Memory of all operands and results.
    """

    def __init__(self, run: Callable[[], object], weights: Iterable[Tensor]):
        self._weights = {weight.untyped_storage().data_ptr() for weight in weights}
        self._tensors: dict[tuple, Tensor] = {}
        self._calls: list[tuple[Callable, Tensor, Tensor, Tensor]] = []
        self.flops = 0
        with torch.no_grad(), _Recorder(self._record):
            run()
        storages = {t.untyped_storage().data_ptr(): t for t in self._tensors.values()}
        self.nbytes = sum(t.untyped_storage().nbytes() for t in storages.values())

    @torch.no_grad()
    def __call__(self) -> None:
        """Run them all once."""
        for product, left, right, out in self._calls:
            product(left, right, out=out)

    def _record(self, name: str, args: tuple, out: Tensor) -> None:
        """Turn a call of an operator into the products that it contains."""
        if name in ('aten::mm', 'aten::bmm'):
            self._add(*args[:2])
        elif name in ('aten::addmm', 'aten::baddbmm'):
            self._add(*args[1:3])
        elif name.startswith('aten::_scaled_dot_product'):
            q, k, v = (tensor.flatten(0, -3) for tensor in args[:3])
            groups = len(q) // len(k)  # heads of q that share one of k
            k, v = (tensor.repeat_interleave(groups, 0) for tensor in (k, v))
            self._add(q, k.mT)
            self._add(q.new_zeros(len(q), q.shape[1], k.shape[1]), v)
        elif name == 'aten::convolution':
            kernels, transposed, groups = args[1], args[6], args[8]
            kernels = kernels.unflatten(0, (groups, -1)).flatten(2)
            kernels, maps = (kernels, args[0]) if transposed else (kernels.mT, out)
            places = maps.numel() // maps.shape[1]
            self._add(kernels.new_zeros(groups, places, kernels.shape[1]), kernels)

    def _add(self, left: Tensor, right: Tensor) -> None:
        if right.shape[-1] == 1:
            return
        left, right = self._operand(left), self._operand(right)
        shape = (*left.shape[:-1], right.shape[-1])
        out = self._tensors.setdefault(('out', shape, left.dtype), left.new_empty(shape))
        self._calls.append((torch.mm if left.ndim == 2 else torch.bmm, left, right, out))
        self.flops += prod(shape) * left.shape[-1]

    def _operand(self, tensor: Tensor) -> Tensor:
        own = tensor.data_ptr() if tensor.untyped_storage().data_ptr() in self._weights else None
        key = (own, tensor.shape, tensor.stride(), tensor.dtype)
        return self._tensors.setdefault(key, tensor.detach())


class _Recorder(TorchDispatchMode):
    """Tells of every operator that runs: its name, its arguments and its result."""

    def __init__(self, record: Callable[[str, tuple, object], None]):
        super().__init__()
        self.record = record

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.record(func._schema.name, args, out)
        return out
