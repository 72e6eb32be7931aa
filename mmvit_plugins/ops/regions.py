"""Regions for :mod:`.extension`: their features by RoIAlign and RoIPool.

Regions are (R, 5): index of the picture, then a box in its pixels.
"""

from collections.abc import Iterator

import torch
import torchvision  # noqa: F401, registers its operators
from einops import rearrange
from torch import Tensor

from .layout import contiguous, to_float

VISION = torch.ops.torchvision


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
    maps, rois = to_float(input, rois)
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
    grad, rois = to_float(grad_output, rois)

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
    maps, boxes = to_float(input, rois[:, 1:])
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
