"""Attention: the one function that all backbones call."""

import torch
import torch.nn.functional as F

from .sizes import captured

SHORT = 256  # most queries and keys for which a CPU is faster with the whole matrix


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None = None,
    scale: float | None = None,
    dropout_p: float = 0.0,
) -> torch.Tensor:
    """Mix values by the softmax of scaled products: ``(N, [W,] h, L, d) -> (N, [W,] h, L, d)``.

    torch's fused attention, except for short float32 sequences on a CPU, in inference, where plain
    products are as fast, and where a bias learns, for which torch has no fused backward pass there.
    Softmax is in float32 in either.

    Args:
        q (Tensor): Queries, ``(N, h, L, d)``, or ``(N, W, h, L, d)`` in W windows.
        k (Tensor): Keys, with K instead of L.
        v (Tensor): Values, as ``k``.
        bias (Tensor, optional): What is added to the scaled products: broadcasts to
            ``(N, h, L, K)``; with windows ``(h, L, K)`` or, another for each, ``(W, h, L, K)``. Or
            a mask, True where a key is looked at.
        scale (float, optional): By default ``d ** -0.5``.
        dropout_p (float): Share of the weights that are dropped, whatever mode the model is in.
    """
    if _takes_products(q, k, bias):
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        if bias is None:
            weights = (q * scale) @ k.transpose(-2, -1)
        elif bias.dtype == torch.bool:
            weights = ((q * scale) @ k.transpose(-2, -1)).masked_fill(~bias, -torch.inf)
        else:
            weights = torch.add(bias, q @ k.transpose(-2, -1), alpha=scale)
        return F.dropout(weights.softmax(dim=-1), dropout_p, training=dropout_p > 0) @ v
    if bias is not None and bias.dtype != torch.bool:
        bias = bias.to(q.dtype)
    if q.ndim == 4:
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    # Fused kernels take four dimensions, and a bias that broadcasts over the first.
    windows, heads = q.shape[1:3]
    alike = bias is None or bias.ndim == 3
    q, k, v = (t.flatten(0, 1) if alike else t.flatten(1, 2) for t in (q, k, v))
    if bias is not None:
        bias = (bias if alike else bias.flatten(0, 1)).unsqueeze(0)
    out = F.scaled_dot_product_attention(q, k, v, bias, dropout_p, scale=scale)
    return out.unflatten(0, (-1, windows)) if alike else out.unflatten(1, (windows, heads))


def _takes_products(q: torch.Tensor, k: torch.Tensor, bias: torch.Tensor | None) -> bool:
    if q.device.type != 'cpu' or q.dtype.itemsize < 4 or captured():
        return False
    if torch.is_grad_enabled() and (bias is None or not bias.requires_grad):
        return False  # the fused backward pass needs no matrix
    return max(q.shape[-2], k.shape[-2]) <= SHORT
