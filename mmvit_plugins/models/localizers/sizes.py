"""Bringing pictures to a size."""

import torch
import torch.nn.functional as F


def resize_pictures(x: torch.Tensor, size: tuple[int, int] | None) -> torch.Tensor:
    """Resize pictures ``(N, C, H, W)`` with antialiasing, where they have another size.

    The arithmetic is in float32, the dtype stays; ``size=None`` leaves them as they are.
    """
    if size is None or tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x.float(), size, mode='bilinear', antialias=True).to(x.dtype)
