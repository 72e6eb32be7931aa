"""What stands in for ``mmcv._ext``, mmcv's compiled operators: torchvision's and plain torch.

mmcv's own Python code calls these functions, so each has the name, the arguments and the results of
its counterpart in onedl-mmcv 2.3.6; most fill tensors that they are given. Letters of shapes: N
pictures, C channels, H x W pixels, R regions, B boxes. Half precision is computed in float32, as
torchvision's operators do in mixed precision. Any memory layout is read right.

What is not here ends in an :class:`OperatorError` when it is called.
"""

from collections.abc import Callable, Iterator

import torch
import torchvision  # registers the operators below
from einops import rearrange
from torch import Tensor

from .layout import contiguous

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

    absent.absent = True
    return absent


def get_compiler_version() -> str:
    """What mmengine's report of the environment shows."""
    return f'none: torchvision {torchvision.__version__} stands in'


def get_compiling_cuda_version() -> str:
    """What mmengine's report of the environment shows."""
    return 'none'


def _float(*tensors: Tensor) -> list[Tensor]:
    """Bring tensors to one type, that of the first or float32 if it has less digits."""
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    return [tensor.to(dtype) for tensor in tensors]


# ---- Boxes: (x1, y1, x2, y2). With offset 1 they end after their last pixel, as in mmdetection 1.x


def _overlaps(one: Tensor, two: Tensor, offset: int = 0, mode: int = 0) -> Tensor:
    """Overlap of boxes ``(..., 4)``: over the union (mode 0) or over the first (mode 1)."""
    top_left = torch.maximum(one[..., :2], two[..., :2])
    inner = (torch.minimum(one[..., 2:], two[..., 2:]) - top_left + offset).clamp(min=0).prod(-1)
    first, second = ((box[..., 2:] - box[..., :2] + offset).prod(-1) for box in (one, two))
    return inner / (first if mode else first + second - inner)


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Fill ``ious`` with the overlaps of boxes: ``(B,)`` if ``aligned``, else ``(B1, B2)``."""
    one, two = _float(bboxes1 if aligned else bboxes1[:, None], bboxes2)
    ious.copy_(_overlaps(one, two, offset, mode))


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices ``(K,)`` of the boxes ``(B, 4)`` that no better one overlaps, the best first."""
    boxes, scores = _float(boxes, scores)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return VISION.nms(boxes, scores, iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Let overlap with better boxes lower the scores: soft-NMS, Bodla et al., arXiv:1704.04503.

    Args:
        boxes: ``(B, 4)``.
        scores: ``(B,)``.
        dets: ``(B, 5)``; its first K rows become the boxes that are kept, with their new scores.
        iou_threshold: From this overlap on, methods 0 and 1 lower a score.
        sigma: Width of method 2.
        min_score: Boxes that fall below it are dropped.
        method: A score is multiplied with 0 (0), ``1 - IoU`` (1) or ``exp(-IoU^2 / sigma)`` (2).
        offset: 0 or 1.

    Returns:
        Indices ``(K,)`` of the boxes that are kept, in the order in which they were chosen.
    """
    boxes, scores = _float(boxes, scores)
    rows, order = torch.cat((boxes, scores[:, None]), 1), torch.arange(len(boxes))
    first = 0
    while first < len(order):
        found = rows[order[first:], 4]
        # a NaN is neither better nor worse than anything: it stays where it is
        best = 0 if found[0].isnan() else int(found.nan_to_num(-torch.inf).argmax())
        order[[first, first + best]] = order[[first + best, first]]
        rest = order[first + 1 :]
        overlap = _overlaps(rows[order[first], :4], rows[rest, :4], offset)
        if method == 2:
            factor = (-(overlap**2) / sigma).exp()
        else:
            factor = torch.where(overlap < iou_threshold, 1.0, method * (1 - overlap))
            factor[overlap.isnan()] = 1
        rows[rest, 4] *= factor
        first += 1
        order = torch.cat((order[:first], _fill_up(rest, rows[rest, 4] < min_score)))
    dets[: len(order)] = rows[order].to(dets.dtype)
    return order


def _fill_up(order: Tensor, dropped: Tensor) -> Tensor:
    """Put the last ones into the places of those dropped; it decides between equal scores."""
    kept = int((~dropped).sum())
    order[:kept][dropped[:kept]] = order[kept:][~dropped[kept:]].flip(0)
    return order[:kept]


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes with scores ``(B, 5)``: a box that is kept, then those that it suppresses."""
    (dets,) = _float(dets)
    left, groups = dets[:, 4].argsort(descending=True), []
    while len(left):
        first, rest = left[:1], left[1:]
        near = _overlaps(dets[first, :4], dets[rest, :4]) >= iou_threshold
        groups.append(torch.cat((first, rest[near])).tolist())
        left = rest[~near]
    return groups


# ---- Regions (R, 5): index of the picture, then a box in its pixels


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Sample regions of maps: RoIAlign, He et al., arXiv:1703.06870.

    Args:
        input: ``(N, C, H, W)``.
        rois: ``(R, 5)``.
        output: ``(R, C, aligned_height, aligned_width)``, is filled.
        argmax_y: Of the shape of ``output`` with pool mode 0; is filled with the number of the
            sample that is the largest of its cell, for the backward pass.
        argmax_x: Not used.
        aligned_height: Cells.
        aligned_width: Cells.
        spatial_scale: Pixels of the map in one of the picture.
        sampling_ratio: Samples of a cell in each direction; 0: as many as it has pixels.
        pool_mode: 0 takes the largest sample of a cell, 1 their mean.
        aligned: Pixels have their values in their centres, half a pixel off their index.
    """
    size = aligned_height, aligned_width
    maps, rois = _float(input, rois)
    maps = contiguous(maps)  # as torchvision's operator, but faster
    if pool_mode == 1:
        output.copy_(VISION.roi_align(maps, rois, spatial_scale, *size, sampling_ratio, aligned))
        return
    output.fill_(-10000)  # as where a region without area has no sample
    for index, grid in _sample_grids(rois, size, spatial_scale, sampling_ratio, aligned):
        fine = size[0] * grid[0], size[1] * grid[1]
        samples = VISION.roi_align(maps, rois[index], spatial_scale, *fine, 1, aligned)
        best, where = _cells(samples, size, grid).max(-1)
        output[index], argmax_y[index] = best.to(output.dtype), where.to(argmax_y.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fill ``grad_input`` ``(N, C, H, W)``; arguments as in :func:`roi_align_forward`."""
    size, shape = (aligned_height, aligned_width), grad_input.shape
    grad, rois = _float(grad_output, rois)

    def spread(grad, rois, size, ratio):
        return VISION._roi_align_backward(
            grad.contiguous(), rois, spatial_scale, *size, *shape, ratio, aligned
        )

    if pool_mode == 1:
        grad_input.copy_(spread(grad, rois, size, sampling_ratio))
        return
    total = torch.zeros_like(grad_input, dtype=grad.dtype)
    for index, grid in _sample_grids(rois, size, spatial_scale, sampling_ratio, aligned):
        fine = grad.new_zeros((len(index), shape[1], size[0] * grid[0], size[1] * grid[1]))
        where = argmax_y[index].long()[..., None]
        cells = _cells(fine, size, grid).scatter(-1, where, grad[index][..., None])
        fine = cells.unflatten(-1, grid).transpose(3, 4).reshape(fine.shape)
        total += spread(fine, rois[index], fine.shape[2:], 1)
    grad_input.copy_(total)


def _sample_grids(
    rois: Tensor, size: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Sort regions by how many samples their cells have, (down, across): indices and numbers."""
    if ratio > 0:
        grids = torch.full((len(rois), 2), ratio)
    else:
        extent = (rois[:, [4, 3]] - rois[:, [2, 1]]) * scale
        extent = extent if aligned else extent.clamp(min=1)
        grids = (extent / extent.new_tensor(size)).ceil().long()
    for grid in grids.unique(dim=0):
        if grid.min() > 0:
            yield (grids == grid).all(1).nonzero()[:, 0], tuple(grid.tolist())


def _cells(samples: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Gather the samples of each cell: ``(R, C, H * h, W * w) -> (R, C, H, W, h * w)``."""
    (rows, columns), (h, w) = size, grid
    pattern = 'r c (rows h) (columns w) -> r c rows columns (h w)'
    return rearrange(samples, pattern, rows=rows, columns=columns, h=h, w=w)


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Take the largest value in each cell of a region: RoIPool, Girshick, arXiv:1504.08083.

    mmcv's cells reach from the floor of their start to the ceiling of their end, without rounding
    the region first as torchvision does, so that torchvision's operator would give other values.

    Args:
        input: ``(N, C, H, W)``.
        rois: ``(R, 5)``; the last row and column of pixels belong to a region.
        output: ``(R, C, pooled_height, pooled_width)`` of zeros, is filled.
        argmax: The same shape of integers; is filled with ``y * W + x`` of the value, -1 if none.
        pooled_height: Cells.
        pooled_width: Cells.
        spatial_scale: Pixels of the map in one of the picture.
    """
    argmax.fill_(-1)
    maps, boxes = _float(input, rois[:, 1:])
    limits = boxes.new_tensor(maps.shape[:1:-1])  # W, H
    start = boxes[:, :2] * spatial_scale
    extent = (boxes[:, 2:] + 1) * spatial_scale - start
    count = boxes.new_tensor([pooled_width, pooled_height])
    steps = torch.arange(max(pooled_height, pooled_width) + 1, device=boxes.device)
    edges = steps[:, None] * (extent / count)[:, None] + start[:, None]  # (R, steps, 2)
    low, high = (
        torch.minimum(edge.clamp(min=0), limits).int().tolist()
        for edge in (edges[:, :-1].floor(), edges[:, 1:].ceil())
    )
    for region, (picture, valid) in enumerate(
        zip(rois[:, 0].int().tolist(), (extent > 0).all(1).tolist(), strict=True)
    ):
        if not valid:
            continue
        for y in range(pooled_height):
            top, bottom = low[region][y][1], high[region][y][1]
            for x in range(pooled_width):
                left, right = low[region][x][0], high[region][x][0]
                if top < bottom and left < right:
                    cell = maps[picture, :, top:bottom, left:right].flatten(1)
                    best, where = cell.max(1)
                    output[region, :, y, x] = best.to(output.dtype)
                    where = (top + where // (right - left)) * maps.shape[3] + (
                        left + where % (right - left)
                    )
                    argmax[region, :, y, x] = where.to(argmax.dtype)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add to ``grad_input`` ``(N, C, H, W)``; arguments as in :func:`roi_pool_forward`."""
    chosen = argmax >= 0
    region, channel, _, _ = chosen.nonzero(as_tuple=True)
    flat = grad_input.flatten(2)  # a view: new zeros are contiguous
    place = rois[region, 0].long(), channel, argmax[chosen].long()
    flat.index_put_(place, grad_output[chosen].to(flat.dtype), accumulate=True)


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
    (logits,) = _float(logits)
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
    (share,) = _float(share)
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
    return _float(input, weight, offset, mask, bias)


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
