"""From a response map to the box of what responds most, and from the box to an enlarged picture.

Xu et al. (Pattern Recognition 146, 2024, 110042) threshold the response, crop and enlarge; they
give no numbers and no rules for what may go wrong, so those here are ours.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from ..checks import check_options

THRESHOLDS = ('mean', 'otsu')
FLAT = 1e-5  # what varies by less, relative to its largest value, is rounding


def find_boxes(
    response: torch.Tensor,
    size: Sequence[int],
    threshold: str = 'mean',
    scale: float = 1.0,
    clip_quantile: float = 0.99,
    margin: float = 0.05,
    min_side: float = 0.3,
    min_area: float = 0.02,
    max_area: float = 0.95,
    square: bool = True,
) -> tuple[torch.Tensor, list[str]]:
    """Find the box of the largest connected region that responds.

    The response is clipped, resized bilinearly to the picture and thresholded; touching corners
    connect, and of regions of one size the first from the top counts. Its box grows by the margin,
    then to the least side, then to a square; it is cut to the picture's sides and moved inside.
    Where this finds nothing of use, the box is the whole picture, and the status says why:

    - 'flat': the response has NaN or an infinity, or is constant;
    - 'empty': nothing exceeds the threshold, as when a few outliers are all that is there;
    - 'tiny': the region is smaller than ``min_area``;
    - 'whole': the box is larger than ``max_area``.

    Images do not influence each other. The search runs on the CPU, after one copy of the response.

    Args:
        response: ``(N, h, w)``; larger is more of an object.
        size: The picture's height H and width W.
        threshold: 'mean' of the resized response, or 'otsu': halfway between the two classes
            of the clipped response whose means differ most, in Otsu's sense.
        scale: Factor of the threshold.
        clip_quantile: Larger values become this quantile, since transformers keep notes
            in a few tokens of the background, which then draw much attention.
        margin: Share of its width and height by which each edge moves out.
        min_side: Least side of a box, as a share of the picture's longer one.
        min_area: Least area of a region, as a share of the picture's.
        max_area: Largest area of a box, as a share of the picture's.
        square: Make the box a square, as far as the picture's sides allow.

    Returns:
        Boxes ``(N, 4)``, float32, on the response's device: left, top,
        right and bottom edge in pixels of ``size``, so that ``(0, 0, W, H)`` is the whole picture;
        and for each 'ok', 'flat', 'empty', 'tiny' or 'whole'.

    Raises:
        ValueError: For a wrong argument, naming what is allowed.
    """
    check_options('find_boxes', threshold=(threshold, THRESHOLDS))
    shares = dict(
        clip_quantile=clip_quantile, min_side=min_side, min_area=min_area, max_area=max_area
    )
    for name, value in shares.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise ValueError(f'find_boxes: {name}={value!r} must be a number from 0 to 1')
    for name, value in dict(scale=scale, margin=margin).items():
        if not _is_number(value) or not 0 <= value < float('inf'):
            raise ValueError(f'find_boxes: {name}={value!r} must be a number that is not negative')
    if response.ndim != 3 or 0 in response.shape[1:]:
        raise ValueError(
            f'find_boxes: the response has the shape {tuple(response.shape)}, but (N, h, w) is '
            'needed'
        )
    height, width = size
    whole = (0, 0, width, height)
    boxes, statuses = [], []
    for image in response.detach().float().cpu().numpy():
        region, status = _find_region(image, size, threshold, scale, clip_quantile, min_area)
        box = whole if region is None else _grow(region, size, margin, min_side, square)
        if status == 'ok' and (box[2] - box[0]) * (box[3] - box[1]) > max_area * height * width:
            box, status = whole, 'whole'
        boxes.append(box)
        statuses.append(status)
    found = torch.tensor(boxes, dtype=torch.float32, device=response.device)
    return found.view(-1, 4), statuses


def crop_boxes(images: torch.Tensor, boxes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Cut a box out of each image and resize it, in one bilinear sampling.

    Beyond the edge, the pixels there go on. A box that is larger than ``size`` is not smoothed
    before it is sampled.

    Args:
        images: ``(N, C, H, W)``.
        boxes: ``(N, 4)``, left, top, right and bottom edge in pixels of the images.
        size: Height h and width w of the result.

    Returns:
        ``(N, C, h, w)``, in the dtype of ``images``; positions are at least in float32.

    Raises:
        ValueError: If there is not one box for each image.
    """
    if boxes.shape != (len(images), 4):
        raise ValueError(
            f'crop_boxes: boxes of the shape {tuple(boxes.shape)} came for {len(images)} images, '
            f'but ({len(images)}, 4) is needed'
        )
    dtype = torch.promote_types(images.dtype, torch.float32)
    x0, y0, x1, y1 = boxes.to(dtype).unbind(1)
    # by hand, since the matrix product of affine_grid is in half precision under autocast
    x, y = (
        2 * (low[:, None] + (high - low)[:, None] * _centres(steps, boxes.device, dtype)) / side - 1
        for low, high, steps, side in (
            (x0, x1, size[1], images.shape[3]),
            (y0, y1, size[0], images.shape[2]),
        )
    )
    grid = torch.stack(
        (x[:, None, :].expand(-1, size[0], -1), y[:, :, None].expand(-1, -1, size[1])), dim=-1
    )
    crops = F.grid_sample(images.to(dtype), grid, padding_mode='border', align_corners=False)
    return crops.to(images.dtype)


def _centres(steps: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Centres of equal parts of the unit interval."""
    return (torch.arange(steps, device=device, dtype=dtype) + 0.5) / steps


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_flat(values: np.ndarray) -> bool:
    return values.max() - values.min() <= FLAT * np.abs(values).max()


def _otsu(values: np.ndarray) -> float:
    """Split values so that the weighted distance of the two means is largest; halfway between."""
    values = np.sort(values, axis=None).astype(np.float64)
    count = np.arange(1, values.size)
    sums = values.cumsum()[:-1]
    low, high = sums / count, (values.sum() - sums) / (values.size - count)
    split = np.argmax(count * (values.size - count) * (high - low) ** 2)
    return (values[split] + values[split + 1]) / 2


def _find_region(
    image: np.ndarray,
    size: Sequence[int],
    threshold: str,
    scale: float,
    clip_quantile: float,
    min_area: float,
) -> tuple[Sequence[int] | None, str]:
    """Find the largest region ``(left, top, width, height)`` of one response, or say why not."""
    import cv2

    if not np.isfinite(image).all() or _is_flat(image):
        return None, 'flat'
    image = image.clip(max=np.quantile(image, clip_quantile))
    if _is_flat(image):  # outliers were all that there was
        return None, 'empty'
    height, width = size
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    limit = resized.mean(dtype=np.float64) if threshold == 'mean' else _otsu(image)
    mask = (resized > scale * limit).astype(np.uint8)
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    areas = np.bincount(labels.ravel(), minlength=2)[1:]
    if not areas.any():
        return None, 'empty'
    if areas.max() < min_area * height * width:
        return None, 'tiny'
    largest = np.flatnonzero(areas == areas.max()) + 1
    if len(largest) > 1:  # labels need not be in the order of the rows
        largest = labels[np.isin(labels, largest)]
    return cv2.boundingRect((labels == largest[0]).astype(np.uint8)), 'ok'


def _grow(
    region: Sequence[int], size: Sequence[int], margin: float, min_side: float, square: bool
) -> tuple[float, float, float, float]:
    """Turn a region ``(left, top, width, height)`` into a box inside the picture."""
    starts, sides = region[:2], [side * (1 + 2 * margin) for side in region[2:]]
    centres = [start + side / 2 for start, side in zip(starts, region[2:], strict=True)]
    least = max(min_side * max(size), max(sides) if square else 0)
    edges = []
    for centre, side, limit in zip(centres, sides, reversed(size), strict=True):
        side = min(max(side, least), limit)
        start = min(max(centre - side / 2, 0), limit - side)
        edges.append((start, start + side))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom
