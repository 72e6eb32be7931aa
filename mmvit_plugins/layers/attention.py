"""Attention: the one function that all backbones call."""

import torch
import torch.nn.functional as F

from .sizes import is_capturing


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
) -> torch.Tensor:
    """Mix values by the softmax of scaled products: ``(N, [W,] h, L, d) -> (N, [W,] h, L, d)``.

    torch's fused attention, except on a CPU where a float32 bias learns: there torch has no fused
    backward pass, and its fallback is slower than the plain products. Queries, keys and values may
    be views of one tensor, which are not copied to be fused. Softmax is in float32 in any case.

    Args:
        q: Queries, ``(N, h, L, d)``, or ``(N, W, h, L, d)`` in W windows.
        k: Keys, with K instead of L.
        v: Values, as ``k``.
        bias: What is added to the scaled products: broadcasts to
            ``(N, h, L, K)``; with windows ``(h, L, K)`` or, another for each, ``(W, h, L, K)``. Or
            a mask, True where a key is looked at.
        scale: By default ``d ** -0.5``.
        dropout_p: Share of the weights that are dropped, whatever mode the model is in.
    """
    learns = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    if learns and q.device.type == 'cpu' and q.dtype.itemsize >= 4 and not is_capturing():
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        weights = ((q * scale) @ k.transpose(-2, -1)).add_(bias).softmax(dim=-1)
        return F.dropout(weights, dropout_p, training=dropout_p > 0) @ v
    windows = q.shape[1:2] if q.ndim == 5 else ()
    if windows:
        batch = q.shape[0]
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
        if bias is not None and bias.ndim == 4:  # less to copy than queries, keys and values
            bias = bias.expand(batch, -1, -1, -1, -1).flatten(0, 1)
    if bias is not None:
        bias = bias if bias.dtype == torch.bool else bias.to(q.dtype)
        bias = bias.unsqueeze(0) if bias.ndim == 3 else bias  # fused kernels take 2 or 4
    out = F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    return out.unflatten(0, (batch, *windows)) if windows else out
