"""What stands in for ``mmcv._ext``, mmcv's compiled operators: torchvision's and plain torch.

mmcv's own Python code calls these functions, so each has the name, the arguments and the results of
its counterpart in onedl-mmcv 2.3.6; most fill tensors that they are given. Letters of shapes: N
pictures, C channels, H x W pixels, R regions, B boxes. Half precision is computed in float32, as
torchvision's operators do in mixed precision. Any memory layout is read right.

What is not here ends in an :class:`OperatorError` when it is called.
"""

from collections.abc import Callable

import torch
import torchvision  # registers the operators below
from torch import Tensor

from .boxes import bbox_overlaps, nms, nms_match, softnms  # noqa: F401
from .layout import to_float
from .regions import (  # noqa: F401
    roi_align_backward,
    roi_align_forward,
    roi_pool_backward,
    roi_pool_forward,
)

VISION = torch.ops.torchvision


class OperatorError(ImportError):
    """An operator of mmcv is needed that is not compiled and that nothing stands in for."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'{name} needs an operator of mmcv that is compiled code, which this mmcv was '
            'installed without; nothing stands in for it: choose another, or compile mmcv as '
            'docs/operators.md of mmvit_plugins says'
        )


def __getattr__(name: str) -> Callable:
    """Stand for every other operator, since mmcv asks for all of them when it is imported."""
    if name.startswith('__'):
        raise AttributeError(name)

    def absent(*args, **kwargs):
        raise OperatorError(f'mmcv.ops: {name}')

    absent.absent = True  # type: ignore[attr-defined]  # what asks for operators can tell by it
    return absent


def get_compiler_version() -> str:
    """What mmengine's report of the environment shows."""
    return f'none: torchvision {torchvision.__version__} stands in'


def get_compiling_cuda_version() -> str:
    """What mmengine's report of the environment shows."""
    return 'none'


# ---- Focal losses: Lin et al., arXiv:1708.02002. Logits (B, C); targets (B,), C is background


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` ``(B, C)``; ``weight`` is ``(C,)`` or empty, background counts once."""
    output.copy_(_sigmoid_focal_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``grad_input`` ``(B, C)`` with the derivatives of the losses."""
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        loss = _sigmoid_focal_loss(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(loss, logits)[0])


def _sigmoid_focal_loss(
    logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float
) -> Tensor:
    (logits,) = to_float(logits)
    classes = torch.arange(logits.shape[1], device=logits.device)
    truth = (target[:, None] == classes).to(logits.dtype)
    loss = torchvision.ops.sigmoid_focal_loss(logits, truth, alpha, gamma)
    return loss * _class_weight(weight, target, logits)[:, None]


def _class_weight(weight: Tensor, target: Tensor, like: Tensor) -> Tensor:
    """The weight of each target's class, 1 where there are none and for the background."""
    if not len(weight):
        return like.new_ones(len(target))
    return torch.cat((weight, weight.new_ones(1)))[target].to(like.dtype)


def softmax_focal_loss_forward(
    softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fill ``output`` ``(B,)`` from probabilities ``(B, C)``; targets below 0 count nothing."""
    share = _share(softmax, target)
    loss = -alpha * (1 - share) ** gamma * share.log()
    loss = loss * _class_weight(weight, target, loss)
    output.copy_(torch.where(target < 0, 0, loss))


def softmax_focal_loss_backward(
    softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` ``(B, C)`` with the derivatives for the logits; ``buff`` is not used."""
    share = _share(softmax, target)
    slope = gamma * (1 - share) ** (gamma - 1) * share * share.log() - (1 - share) ** gamma
    slope = torch.where(target < 0, 0, alpha * slope * _class_weight(weight, target, slope))
    classes = torch.arange(softmax.shape[1], device=softmax.device)
    own = (target[:, None] == classes).to(slope.dtype)
    grad_input.copy_(slope[:, None] * (own - softmax))


def _share(softmax: Tensor, target: Tensor) -> Tensor:
    """The probability of each target, at least the smallest number whose logarithm is finite."""
    share = softmax.gather(1, target.clamp(min=0)[:, None])[:, 0]
    (share,) = to_float(share)
    return share.clamp(min=torch.finfo(torch.float32).tiny)


# ---- Deformable convolution: v1 of Dai et al., arXiv:1703.06211; v2, with masks, of Zhu et al.,
# ---- arXiv:1811.11168. Input (N, C, H, W), offsets (y, x) for each cell of each group's kernel


V1 = ('dH', 'dW', 'padH', 'padW', 'dilationH', 'dilationW', 'group', 'deformable_group')
V2 = (
    *('stride_h', 'stride_w', 'pad_h', 'pad_w', 'dilation_h', 'dilation_w'),
    *('group', 'deformable_group'),
)


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    **geometry: int,
) -> None:
    """Fill ``output``; ``columns`` and ``ones`` are scratch."""
    tensors = _deform_arguments(input, weight, offset)
    output.copy_(VISION.deform_conv2d(*tensors, *(geometry[key] for key in V1), False))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **geometry: int,
) -> None:
    """Fill ``grad_input`` and ``grad_offset``; ``columns`` keeps what the next function needs."""
    grads = _deform_grads(grad_output, input, weight, offset, geometry)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])
    columns.resize_(weight.shape).copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float,
    **geometry: int,
) -> None:
    """Fill ``grad_weight``, which all gradients come with: they may be in ``columns``."""
    if columns.shape != grad_weight.shape:  # of the weights themselves, only the shape matters
        columns = _deform_grads(grad_output, input, grad_weight, offset, geometry)[1]
    grad_weight.copy_(scale * columns)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Fill ``output``; ``columns`` and ``ones`` are scratch, ``bias`` may be empty."""
    tensors = _deform_arguments(input, weight, offset, mask, bias if with_bias else None)
    output.copy_(VISION.deform_conv2d(*tensors, *(geometry[key] for key in V2), True))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    with_bias: bool,
    **geometry: int,
) -> None:
    """Fill all gradients."""
    tensors = _deform_arguments(input, weight, offset, mask, bias if with_bias else None)
    grads = VISION._deform_conv2d_backward(
        grad_output.to(tensors[0].dtype), *tensors, *(geometry[key] for key in V2), True
    )
    targets = grad_input, grad_weight, grad_offset, grad_mask, grad_bias
    for target, grad in zip(targets[: 5 if with_bias else 4], grads, strict=False):
        target.copy_(grad)


def _deform_arguments(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
) -> list[Tensor]:
    """Complete what torchvision wants: a mask that it does not read, a bias of zeros."""
    mask = input.new_zeros(len(input), 1) if mask is None else mask
    bias = input.new_zeros(len(weight)) if bias is None else bias
    return to_float(input, weight, offset, mask, bias)


def _deform_grads(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, geometry: dict[str, int]
) -> tuple[Tensor, ...]:
    """Gradients for input, weight, offset, mask and bias of v1."""
    tensors = _deform_arguments(input, weight, offset)
    steps = (geometry[key] for key in V1)
    return VISION._deform_conv2d_backward(grad.to(tensors[0].dtype), *tensors, *steps, False)


# ---- Multi-scale deformable attention: Zhu et al., arXiv:2010.04159. What mmcv takes on a CPU, in
# ---- plain torch, serves CUDA too


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Sample maps: ``(N, keys, heads, d) -> (N, queries, heads * d)``."""
    return _ms_deform_attn(value, value_spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fill the three gradients."""
    inputs = value, sampling_locations, attention_weights
    targets = grad_value, grad_sampling_loc, grad_attn_weight
    with torch.enable_grad():
        value, places, weights = (tensor.detach().requires_grad_() for tensor in inputs)
        out = _ms_deform_attn(value, value_spatial_shapes, places, weights)
    grads = torch.autograd.grad(out, (value, places, weights), grad_output)
    for target, grad in zip(targets, grads, strict=True):
        target.copy_(grad)


def _ms_deform_attn(value: Tensor, shapes: Tensor, places: Tensor, weights: Tensor) -> Tensor:
    # not at the top: it is imported while mmcv.ops is
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    shapes = [tuple(shape) for shape in shapes.tolist()]
    return multi_scale_deformable_attn_pytorch(value, shapes, places, weights)
