"""Boxes for :mod:`.extension`: overlaps and suppression.

Boxes are (x1, y1, x2, y2). With offset 1 they end after their last pixel, as in mmdetection 1.x.
"""

import torch
import torchvision  # noqa: F401, registers its operators
from torch import Tensor

from .layout import to_float

VISION = torch.ops.torchvision


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
    one, two = to_float(bboxes1 if aligned else bboxes1[:, None], bboxes2)
    ious.copy_(_overlaps(one, two, offset, mode))


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices ``(K,)`` of the boxes ``(B, 4)`` that no better one overlaps, the best first."""
    boxes, scores = to_float(boxes, scores)
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
    boxes, scores = to_float(boxes, scores)
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
    (dets,) = to_float(dets)
    left, groups = dets[:, 4].argsort(descending=True), []
    while len(left):
        first, rest = left[:1], left[1:]
        near = _overlaps(dets[first, :4], dets[rest, :4]) >= iou_threshold
        groups.append(torch.cat((first, rest[near])).tolist())
        left = rest[~near]
    return groups
