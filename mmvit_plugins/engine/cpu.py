"""What mmengine has for CUDA only, for a machine without it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS, OPTIM_WRAPPERS
from torch import nn


@MODEL_WRAPPERS.register_module()
class CPUDistributedDataParallel(MMDistributedDataParallel):
    """Data parallel training over gloo; SyncBN, which is CUDA's, becomes batch norm.

    Args:
        module: The model, on the CPU.
        device_ids: Ignored; mmengine's runner always passes one.
        kwargs: Of ``MMDistributedDataParallel``; ``broadcast_buffers`` is off, as mmengine sets it.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **kwargs) -> None:
        if any(isinstance(child, nn.SyncBatchNorm) for child in module.modules()):
            print_log('SyncBN runs on CUDA only: reverted to batch norm of each process', 'current')
            module = revert_sync_batchnorm(module)
        super().__init__(module=module, **{'broadcast_buffers': False, **kwargs})


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, which needs no loss scaler; mmengine's own refuses CPUs."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
