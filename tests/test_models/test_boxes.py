"""Boxes and crops: known answers, a float64 transcription of the rules, and every way out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from mmvit_plugins.models.localizers import crop_boxes, find_boxes

BARE = dict(margin=0.0, min_side=0.0, min_area=0.0, square=False, clip_quantile=1.0)


def shine(height, width, *rectangles):
    """A response of 0 with rectangles (x0, y0, x1, y1) of 1."""
    response = torch.zeros(1, height, width)
    for x0, y0, x1, y1 in rectangles:
        response[:, y0:y1, x0:x1] = 1
    return response


def find(response, size=None, **options):
    boxes, statuses = find_boxes(response, size or response.shape[1:], **options)
    assert boxes.dtype == torch.float32 and boxes.shape == (len(response), 4)
    return [tuple(box) for box in boxes.tolist()], statuses


@pytest.mark.parametrize(
    'rectangle',
    [(6, 4, 18, 10), (0, 0, 5, 5), (25, 0, 30, 3), (0, 15, 7, 20), (7, 7, 8, 8), (0, 3, 30, 5)],
)
@pytest.mark.parametrize('threshold', ['mean', 'otsu'])
def test_box_is_half_open(rectangle, threshold):
    """Edges of pixels, at every rim of the picture and for one pixel; nothing is interpolated."""
    assert find(shine(20, 30, rectangle), threshold=threshold, **BARE) == ([rectangle], ['ok'])


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        (dict(), (6, 4, 18, 10)),
        (dict(margin=0.25), (3, 2.5, 21, 11.5)),
        (dict(margin=0.6), (0, 0.4, 26.4, 13.6)),  # 26.4 wide, moved inside at the left
        (dict(square=True), (6, 1, 18, 13)),
        (dict(square=True, margin=0.25), (3, 0, 21, 18)),  # 18 high, moved inside at the top
        (dict(square=True, margin=0.5), (0, 0, 24, 20)),  # 24 high, cut to 20
        (dict(min_side=0.5), (4.5, 0, 19.5, 15)),  # half of 30, also of the height
        (dict(min_side=0.3), (6, 2.5, 18, 11.5)),
        (dict(min_side=0.9), (0, 0, 27, 20)),
        (dict(min_side=0.5, square=True), (4.5, 0, 19.5, 15)),
    ],
)
def test_box_grows_and_stays_inside(options, expected):
    (box,), statuses = find(shine(20, 30, (6, 4, 18, 10)), **(BARE | options))
    assert statuses == ['ok'] and box == pytest.approx(expected, abs=1e-5)


def test_box_at_the_far_corner_moves_inside():
    (box,), _ = find(shine(20, 30, (26, 17, 30, 20)), **(BARE | dict(min_side=0.3, square=True)))
    assert box == (21, 11, 30, 20)


def test_a_square_is_the_longer_side_of_high_pictures_too():
    (box,), _ = find(shine(40, 20, (8, 4, 12, 36)), **(BARE | dict(square=True)))
    assert box == (0, 4, 20, 36)


@pytest.mark.parametrize(
    ('rectangles', 'expected'),
    [
        ([(1, 1, 6, 6), (12, 2, 18, 9)], (12, 2, 18, 9)),  # the larger one
        ([(12, 2, 16, 6), (2, 8, 6, 12)], (12, 2, 16, 6)),  # of equal ones the first from the top
        ([(2, 1, 4, 3), (8, 0, 10, 2)], (8, 0, 10, 2)),  # where labels go by blocks of two rows
        ([(10, 3, 12, 5), (4, 3, 6, 5)], (4, 3, 6, 5)),  # in the same row, the first from the left
        ([(2, 2, 6, 6), (6, 6, 9, 9)], (2, 2, 9, 9)),  # touching corners connect
        ([(2, 2, 6, 6), (7, 7, 9, 9)], (2, 2, 6, 6)),
        ([(0, 0, 2, 2), (3, 0, 5, 2), (1, 4, 3, 7)], (1, 4, 3, 7)),  # largest, not most
    ],
)
def test_of_several_regions(rectangles, expected):
    assert find(shine(20, 20, *rectangles), **BARE) == ([expected], ['ok'])


def spike(value, side=24):
    response = torch.full((1, side, side), 0.5)
    response[0, 3, 5] = value
    return response


@pytest.mark.parametrize(
    ('response', 'options', 'status'),
    [
        (torch.zeros(1, 6, 6), {}, 'flat'),
        (torch.full((1, 6, 6), 0.7), {}, 'flat'),
        (torch.full((1, 6, 6), -3e4), {}, 'flat'),
        (0.7 + 1e-7 * torch.arange(36.0).view(1, 6, 6), {}, 'flat'),  # no more than rounding
        (torch.ones(1, 1, 1), {}, 'flat'),
        (spike(float('nan')), {}, 'flat'),
        (spike(float('inf')), {}, 'flat'),
        (spike(float('-inf')), {}, 'flat'),
        (torch.full((1, 6, 6), float('nan')), {}, 'flat'),
        (spike(1e6), {}, 'empty'),  # clipped to what is around it
        (spike(1e6), dict(threshold='otsu'), 'empty'),
        (spike(1e6) + 1e-6 * shine(24, 24, (0, 0, 12, 24)), {}, 'empty'),  # and rounding
        (shine(20, 20, (4, 4, 14, 14)), dict(scale=100.0), 'empty'),
        (spike(1e6), dict(clip_quantile=1.0), 'tiny'),
        (shine(20, 20, (4, 4, 6, 7)), dict(min_area=0.016), 'tiny'),
        (shine(20, 20, (4, 4, 6, 7)), dict(min_area=0.015), 'ok'),
        (shine(20, 20, (0, 0, 20, 20)) - shine(20, 20, (0, 0, 1, 1)), {}, 'whole'),
        (shine(20, 20, (1, 0, 20, 20)), dict(margin=0.0, max_area=0.94, square=False), 'whole'),
        (shine(20, 20, (1, 0, 20, 20)), dict(margin=0.0, max_area=0.95, square=False), 'ok'),
        (shine(20, 20, (4, 4, 14, 14)), dict(min_side=1.0), 'whole'),
        (shine(20, 20, (4, 4, 14, 14)), dict(min_side=1.0, max_area=1.0), 'ok'),
        (-1 - shine(20, 20, (4, 4, 14, 14)), {}, 'whole'),  # all but a hole
    ],
)
def test_what_ends_in_the_whole_picture(response, options, status):
    """At another size than the response's, and not square."""
    (box,), statuses = find(response, **options)
    assert statuses == [status]
    assert (box == (0, 0, *reversed(response.shape[1:]))) == (
        status != 'ok' or options.get('min_side') == 1
    )
    if response.numel() < 50:
        assert find(response, (30, 50), **options) == ([(0, 0, 50, 30)], [status])


def test_what_equals_the_threshold_does_not_count():
    response = torch.tensor([1.0, 2, 3]).repeat_interleave(4).expand(1, 6, 12)
    assert find(response, **BARE) == ([(8, 0, 12, 6)], ['ok'])


def test_outliers_are_clipped():
    """Two tokens of the background that draw most attention do not hide the object."""
    response = 0.1 + shine(24, 24, (8, 10, 16, 20))
    expected = find(response, **BARE)
    response[0, 1, 2] = response[0, 22, 3] = 500.0
    assert find(response, **(BARE | dict(clip_quantile=0.99))) == expected
    assert find(response, **BARE) != expected


def bumps(count, height, width, seed=0):
    """Responses with three bumps each at random places, of random widths, and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width) + 0.5) / width
    maps = 0.05 * rng.random((count, height, width))
    for response in maps:
        for cy, cx, sy, sx in rng.uniform((0, 0, 0.05, 0.05), (1, 1, 0.2, 0.2), (3, 4)):
            response += np.exp(-(((y - cy) / sy) ** 2) - ((x - cx) / sx) ** 2)
    return torch.from_numpy((maps / maps.mean((1, 2), keepdims=True)).astype(np.float32))


def otsu(values):
    """Try every split."""
    values = sorted(values.ravel())
    best, limit = -1, None
    for i in range(1, len(values)):
        low, high = values[:i], values[i:]
        between = len(low) * len(high) * (np.mean(high) - np.mean(low)) ** 2
        if between > best:
            best, limit = between, (low[-1] + high[0]) / 2
    return limit


def transcription(response, size, threshold, scale, quantile, margin, min_side, square):
    """The rules, word by word, in float64, with scipy's labels."""
    height, width = size
    response = np.minimum(response, np.quantile(response, quantile))
    rows = (np.arange(height) + 0.5) * response.shape[0] / height - 0.5
    columns = (np.arange(width) + 0.5) * response.shape[1] / width - 0.5
    grid = np.meshgrid(rows, columns, indexing='ij')
    resized = ndimage.map_coordinates(response, grid, order=1, mode='nearest')
    limit = resized.mean() if threshold == 'mean' else otsu(response)
    labels, count = ndimage.label(resized > scale * limit, np.ones((3, 3)))
    areas = ndimage.sum_labels(labels > 0, labels, range(1, count + 1))
    rows, columns = np.nonzero(labels == areas.argmax() + 1)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    wide, high = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    least = min_side * max(size)
    wide, high = (max(wide, high, least),) * 2 if square else (max(wide, least), max(high, least))
    wide, high = min(wide, width), min(high, height)
    left = min(max((x0 + x1 - wide) / 2, 0), width - wide)
    top = min(max((y0 + y1 - high) / 2, 0), height - high)
    return left, top, left + wide, top + high


@pytest.mark.parametrize('threshold', ['mean', 'otsu'])
@pytest.mark.parametrize('square', [True, False])
@pytest.mark.parametrize(
    ('shape', 'size'), [((12, 12), (96, 96)), ((9, 14), (61, 113)), ((32, 20), (19, 17))]
)
def test_boxes_are_those_of_the_rules(threshold, square, shape, size):
    """Enlarged, by no whole number, and made smaller."""
    responses = bumps(6, *shape)
    options = dict(threshold=threshold, scale=1.02, margin=0.07, min_side=0.35, square=square)
    boxes, statuses = find(responses, size, clip_quantile=0.97, min_area=0, max_area=1, **options)
    assert statuses == ['ok'] * 6 and len(set(boxes)) == 6
    for box, response in zip(boxes, responses.double().numpy(), strict=True):
        expected = transcription(response, size, quantile=0.97, **options)
        assert box == pytest.approx(expected, abs=1e-4)


def test_images_do_not_influence_each_other():
    responses = torch.cat((bumps(3, 12, 12), torch.ones(1, 12, 12)))
    boxes, statuses = find(responses, (80, 70))
    assert len(set(boxes)) == 4 and statuses == ['ok', 'ok', 'ok', 'flat']
    alone = [find(response[None], (80, 70)) for response in responses]
    assert boxes == [box for (box,), _ in alone]
    assert statuses == [status for _, (status,) in alone]
    assert find(responses[:0], (80, 70)) == ([], [])


def test_factors_of_a_response_do_not_matter():
    responses = bumps(3, 12, 12)
    assert find(responses, (80, 70)) == find(responses * 2**-20, (80, 70))


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.float16])
def test_responses_of_other_dtypes_and_with_a_graph(dtype):
    response = shine(20, 30, (6, 4, 18, 10)).to(dtype).requires_grad_()
    boxes, _ = find_boxes(response, (20, 30), **BARE)
    assert boxes.tolist() == [[6, 4, 18, 10]] and not boxes.requires_grad


@pytest.mark.parametrize(
    'options',
    [
        dict(threshold='median'),
        dict(clip_quantile=1.5),
        dict(clip_quantile='0.9'),
        dict(min_side=-0.1),
        dict(min_side=True),
        dict(min_area=2),
        dict(max_area=None),
        dict(max_area=float('nan')),
        dict(scale=-1),
        dict(scale=float('inf')),
        dict(margin=-0.5),
        dict(margin='5%'),
    ],
)
def test_wrong_arguments_are_named(options):
    """Also where no response is left to look at."""
    (name,) = options
    with pytest.raises(ValueError, match=rf'find_boxes: {name}='):
        find_boxes(torch.zeros(0, 4, 4), (8, 8), **options)


@pytest.mark.parametrize('shape', [(4, 4), (1, 1, 4, 4), (1, 0, 4)])
def test_wrong_responses_are_named(shape):
    with pytest.raises(ValueError, match=r'find_boxes: the response has the shape'):
        find_boxes(torch.zeros(shape), (8, 8))


def ramp(count, height, width, dtype=torch.float32):
    """Pictures whose channels are the position in pixels: x, y, and their number."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    planes = torch.stack((x, y, torch.zeros_like(x))).to(dtype).repeat(count, 1, 1, 1)
    planes[:, 2] += torch.arange(count).view(-1, 1, 1)
    return planes


def test_crops_have_what_is_in_the_boxes():
    """Of a ramp, each position of the result is known; sides and boxes all differ."""
    boxes = torch.tensor([[3, 2, 21.5, 11], [10.25, 8, 12, 30], [1, 1, 39, 31]])
    crops = crop_boxes(ramp(3, 32, 40), boxes, (6, 9))
    assert crops.shape == (3, 3, 6, 9)
    for i, (crop, (x0, y0, x1, y1)) in enumerate(zip(crops, boxes.tolist(), strict=True)):
        x = x0 + (x1 - x0) * (torch.arange(9) + 0.5) / 9 - 0.5
        y = y0 + (y1 - y0) * (torch.arange(6) + 0.5) / 6 - 0.5
        assert torch.allclose(crop[0], x.expand(6, 9), atol=1e-4)
        assert torch.allclose(crop[1], y[:, None].expand(6, 9), atol=1e-4)
        assert torch.allclose(crop[2], torch.tensor(float(i)), atol=1e-5)


def test_the_whole_picture_is_itself():
    images = torch.randn(2, 3, 45, 64)
    boxes = torch.tensor([[0.0, 0, 64, 45]] * 2)
    assert torch.allclose(crop_boxes(images, boxes, (45, 64)), images, atol=1e-4)


def test_an_integer_box_is_a_slice_resized():
    """But for the rim, where the sampling sees what is beyond the slice."""
    images = torch.randn(1, 2, 32, 32)
    crop = crop_boxes(images, torch.tensor([[4.0, 6, 16, 18]]), (48, 48))
    expected = F.interpolate(images[:, :, 6:18, 4:16], (48, 48), mode='bilinear')
    assert torch.allclose(crop[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-4)
    assert not torch.allclose(crop, expected, atol=1e-2)


def test_beyond_the_edge_its_pixels_go_on():
    crop = crop_boxes(ramp(1, 8, 8), torch.tensor([[-4.0, 0, 16, 8]]), (8, 20))
    expected = torch.arange(-4.0, 16).clamp(min=0, max=7).expand(8, 20)
    assert torch.allclose(crop[0, 0], expected, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_crops_keep_the_dtype_but_not_its_positions(dtype):
    """In bfloat16, positions beyond 256 are whole even numbers."""
    images = torch.randn(1, 1, 4, 600).to(dtype)
    box = torch.tensor([[401.0, 0, 441, 4]])
    crop = crop_boxes(images, box, (4, 80))
    assert crop.dtype == dtype
    assert torch.allclose(crop.float(), crop_boxes(images.float(), box, (4, 80)), rtol=1e-2)


def test_autocast_does_not_move_crops():
    images, boxes = torch.randn(2, 3, 40, 40), torch.tensor([[3.3, 2, 21, 30.1]] * 2)
    expected = crop_boxes(images, boxes, (24, 24))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(crop_boxes(images, boxes, (24, 24)), expected)


def test_crops_are_one_sampling_without_graph_breaks(monkeypatch):
    calls, sample = [], F.grid_sample
    monkeypatch.setattr(F, 'grid_sample', lambda *a, **k: calls.append(1) or sample(*a, **k))
    images, boxes = torch.randn(5, 3, 20, 20), 20 * torch.rand(5, 4).sort(dim=1).values
    crops = crop_boxes(images, boxes, (8, 8))
    assert len(calls) == 1
    for i in range(5):
        alone = crop_boxes(images[i : i + 1], boxes[i : i + 1], (8, 8))
        assert torch.allclose(crops[i : i + 1], alone, atol=1e-6)
    monkeypatch.undo()
    compiled = torch.compile(crop_boxes, backend='eager', fullgraph=True)
    assert torch.equal(compiled(images, boxes, (8, 8)), crops)


@pytest.mark.parametrize('shape', [(1, 4), (2, 5), (4,)])
def test_one_box_for_each_image(shape):
    with pytest.raises(ValueError, match=r'crop_boxes: boxes of the shape'):
        crop_boxes(torch.zeros(2, 3, 8, 8), torch.zeros(shape), (8, 8))
