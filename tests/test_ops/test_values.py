"""Operators of ``mmcv.ops`` against mmcv's own compiled ones, and against formulas.

``tests/data/mmcv_ops_cpu.npz`` holds what the compiled CPU operators of onedl-mmcv 2.3.6 gave (g++
12, torch 2.14.1), ``mmcv_ops_cuda.npz`` what its CUDA kernels gave, compiled as plain C++, where
they are the only ones. The tests call mmcv's Python functions, whatever is behind them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv import ops
from mmcv.ops.bbox import bbox_overlaps
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)
from torchvision.ops import deform_conv2d

from mmvit_plugins.ops import stands_in

DATA = Path(__file__).resolve().parents[1] / 'data'
LAYOUTS = {'contiguous': torch.contiguous_format, 'channels-last': torch.channels_last}


def cases(file):
    """Cases of a file by name, each with its arrays in place of their keys."""
    return [*_cases(np.load(DATA / f'{file}.npz'))]


def _cases(arrays):
    for case in json.loads(str(arrays['cases']))['cases']:
        inputs = {name: torch.from_numpy(arrays[key]) for name, key in case['inputs'].items()}
        if 'target' in inputs:
            inputs['target'] = inputs['target'].long()
        outputs = {
            name: torch.from_numpy(arrays[key]) if isinstance(key, str) else key
            for name, key in case['outputs'].items()
            if not name.startswith('argmax')  # only the gradients depend on them
        }
        yield pytest.param(
            case['function'].rpartition('.')[2], inputs, case['params'], outputs, id=case['name']
        )


def call(function, inputs, params):
    """Results of an operator, named as in the files: a gradient is ``grad_`` and its leaf."""
    boxes = [inputs.get('boxes'), inputs.get('scores')]
    if function == 'nms':
        return {'inds': ops.nms(*boxes, **params)[1]}
    if function == 'soft_nms':
        dets, indices = ops.soft_nms(*boxes, **params)
        assert torch.equal(dets[:, :4].nan_to_num(), boxes[0][indices].nan_to_num())
        return {'dets': dets[:, 4], 'inds': indices}
    if function == 'nms_match':
        dets = torch.cat((boxes[0], boxes[1][:, None]), 1)
        return {'groups': [group.tolist() for group in ops.nms_match(dets, **params)]}
    if function == 'bbox_overlaps':
        return {'ious': bbox_overlaps(**inputs, **params)}
    inputs = dict(inputs)
    grad = inputs.pop('grad_output', None)
    leaves = {
        name: value.clone(memory_format=torch.preserve_format).requires_grad_()
        for name, value in inputs.items()
        if name in ('input', 'offset', 'mask', 'weight', 'bias') and value.is_floating_point()
    }
    if function.endswith('focal_loss'):
        leaves.pop('weight', None)
        arguments = leaves['input'], inputs['target'], params['gamma'], params['alpha']
        out = getattr(ops, function)(*arguments, inputs.get('weight'), params['reduction'])
        grad = torch.ones_like(out)
    elif function in ('roi_align', 'roi_pool'):
        size, *options = params.values()
        out = getattr(ops, function)(leaves['input'], inputs['rois'], tuple(size), *options)
    else:
        geometry = [params[k] for k in ('stride', 'padding', 'dilation', 'groups', 'deform_groups')]
        names = ['input', 'offset', 'weight']
        if function == 'deform_conv2d':
            geometry += [False, params['im2col_step']]
        else:
            names = ['input', 'offset', 'mask', 'weight', 'bias']
        out = getattr(ops, function)(*(leaves.get(name) for name in names), *geometry)
    grads = torch.autograd.grad(out, list(leaves.values()), grad)
    return {
        'output': out.detach(),
        **{f'grad_{name}': value for name, value in zip(leaves, grads, strict=True)},
    }


def at_the_edge(inputs, params):
    """Which offsets lead exactly one pixel before the map, where the slope has a step.

    mmcv takes the slope outside, 0, torchvision the one inside. Shape of the offsets.
    """
    offset = inputs['offset']
    rows, columns = inputs['weight'].shape[2:]
    places = offset.reshape(len(offset), -1, rows * columns, 2, *offset.shape[2:])
    kernel = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    base = kernel * torch.tensor(params['dilation']) - torch.tensor(params['padding'])
    grid = (
        torch.stack(torch.meshgrid(*(torch.arange(n) for n in offset.shape[2:]), indexing='ij'))
        * torch.tensor(params['stride'])[:, None, None]
    )
    places = places + base[:, :, None, None] + grid
    return (places == -1).any(3, keepdim=True).expand_as(places).reshape(offset.shape)


def compare(function, inputs, params, expected):
    found = call(function, inputs, params)
    for name, value in expected.items():
        if not isinstance(value, torch.Tensor):
            assert found[name] == value
        elif not value.is_floating_point():
            assert found[name].tolist() == value.tolist()
        else:
            result = found[name]
            if name == 'grad_offset' and stands_in():
                edge = at_the_edge(inputs, params)
                assert edge.any() and edge.float().mean() < 0.1
                result, value = (x.masked_fill(edge, 0) for x in (result, value))
            torch.testing.assert_close(
                result, value, rtol=1e-5, atol=1e-5, equal_nan=True, msg=name
            )


@pytest.mark.parametrize(('function', 'inputs', 'params', 'expected'), cases('mmcv_ops_cpu'))
def test_as_mmcv_compiled_for_a_cpu(request, function, inputs, params, expected):
    """Regions outside of the map or without area, odd boxes and NaN scores included."""
    if '[nms_ties24' in request.node.name:
        # torch sorts more than 16 equal scores in an order of its own, mmcv goes by it
        found = call(function, inputs, params)['inds']
        assert inputs['scores'][found].diff().max() <= 0
        boxes = inputs['boxes'][found]
        overlap = bbox_overlaps(boxes, boxes, offset=params['offset']).fill_diagonal_(0)
        assert overlap.max() <= params['iou_threshold']
        return
    compare(function, inputs, params, expected)


CUDA = [
    case
    for case in cases('mmcv_ops_cuda')
    # their start value and boxes with a negative area are the CUDA kernels' own
    if case.values[0] not in ('bbox_overlaps', 'roi_align')
]


@pytest.mark.parametrize(('function', 'inputs', 'params', 'expected'), CUDA)
def test_as_mmcv_compiled_for_cuda(function, inputs, params, expected):
    if not stands_in() and function in ('roi_pool', 'sigmoid_focal_loss', 'softmax_focal_loss'):
        with pytest.raises(RuntimeError, match='implementation for device cpu not found'):
            call(function, inputs, params)
        return
    if function == 'sigmoid_focal_loss':
        # mmcv's logarithms end at the smallest number, -87; those of the first two rows are -100
        if params['reduction'] == 'none':
            rest = call(function, inputs, params)['output'][2:]
            torch.testing.assert_close(rest, expected['output'][2:])
        expected = {'grad_input': expected['grad_input']}
    if function == 'roi_pool':
        # mmcv gives the gradient of a region without area to the first pixel
        rois, grad = inputs['rois'], inputs['grad_output'].sum((2, 3))
        empty = (rois[:, 3:] + 1 <= rois[:, 1:3]).any(1)
        assert empty.any()
        first = torch.zeros_like(expected['grad_input'][:, :, 0, 0])
        first.index_add_(0, rois[empty, 0].long(), grad[empty])
        expected = {**expected, 'grad_input': expected['grad_input'].clone()}
        expected['grad_input'][:, :, 0, 0] -= first
    compare(function, inputs, params, expected)


def four_dimensional(case):
    return case.values[0] in ('roi_align', 'roi_pool', 'deform_conv2d', 'modulated_deform_conv2d')


MAPS = [*filter(four_dimensional, (*cases('mmcv_ops_cpu'), *CUDA))]


@pytest.mark.parametrize(('function', 'inputs', 'params', 'expected'), MAPS)
def test_any_memory_layout(function, inputs, params, expected):
    """Maps, offsets, masks and gradients in channels-last, regions as a part of wider rows."""
    if function == 'roi_pool' and not stands_in():
        pytest.skip("mmcv's compiled operators have no RoIPool for a CPU")
    moved = {
        name: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
        for name, value in inputs.items()
    }
    if 'rois' in moved:
        moved['rois'] = torch.cat((moved['rois'], moved['rois']), 1)[:, :5]
    assert not any(x.is_contiguous() for x in moved.values() if x.ndim == 4 and x.shape[1] > 1)
    for name, value in call(function, inputs, params).items():
        other = call(function, moved, params)[name]
        torch.testing.assert_close(other, value, rtol=1e-6, atol=1e-6)


HALVES = [case for case in MAPS if case.id.endswith(('sr2', 'plain', 'plain_bias', 'scale0.5'))]


@pytest.mark.skipif(not stands_in(), reason="mmcv's compiled operators know no bfloat16 on a CPU")
@pytest.mark.parametrize(('function', 'inputs', 'params', 'expected'), HALVES)
def test_bfloat16_is_computed_in_float32(function, inputs, params, expected):
    half = {
        name: value.bfloat16() if name != 'rois' and value.is_floating_point() else value
        for name, value in inputs.items()
    }
    exact = call(function, {name: x.float() for name, x in half.items()}, params)
    for name, value in call(function, half, params).items():
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(value, exact[name].bfloat16(), rtol=1e-2, atol=1e-6)


def some_boxes(count):
    corner, extent = torch.rand(count, 2) * 1000, torch.rand(count, 2) * 60 + 1
    return torch.cat((corner, corner + extent), 1), torch.randperm(count) / max(count, 1)


def greedy(boxes, scores, threshold, offset=0):
    """NMS as its definition has it."""
    left, kept = scores.argsort(descending=True), []
    boxes = boxes.double()
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        start = torch.maximum(boxes[left, :2], boxes[best, :2])
        end = torch.minimum(boxes[left, 2:], boxes[best, 2:])
        inner = (end - start + offset).clamp(min=0).prod(1)
        left = left[inner <= threshold * (area[best] + area[left] - inner)]
    return kept


@pytest.mark.slow
@pytest.mark.parametrize('count', [0, 1, 2, 300, 10_000])
@pytest.mark.parametrize('offset', [0, 1])
def test_nms_of_few_and_many(count, offset):
    boxes, scores = some_boxes(count)
    dets, kept = ops.nms(boxes, scores, 0.4, offset)
    expected = greedy(boxes, scores, 0.4, offset)
    assert kept.tolist() == expected
    assert torch.equal(dets, torch.cat((boxes, scores[:, None]), 1)[kept])
    limited = ops.nms(boxes, scores, 0.4, offset, score_threshold=0.5, max_num=7)[1]
    assert limited.tolist() == [index for index in expected if scores[index] > 0.5][:7]


@pytest.mark.parametrize('split', [10_000, 100])
def test_nms_of_each_class(split):
    """Boxes of two classes do not see each other, in one go or class by class."""
    boxes, scores = some_boxes(500)
    labels = torch.randint(0, 3, (500,))
    config = dict(type='nms', iou_threshold=0.2, split_thr=split)
    _, kept = ops.batched_nms(boxes, scores, labels, config)
    expected = []
    for label in range(3):
        own = (labels == label).nonzero()[:, 0]
        expected += own[greedy(boxes[own], scores[own], 0.2)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda index: -scores[index])
    _, one = ops.batched_nms(boxes, scores, labels, config, class_agnostic=True)
    # mmcv splits by class all the same, so that boxes of two classes still do not see each other
    agnostic = greedy(boxes, scores, 0.2) if split > len(boxes) else expected
    assert sorted(one.tolist()) == sorted(agnostic)


def test_soft_nms_as_its_definition():
    boxes, scores = some_boxes(200)
    boxes[:, :2] /= 10
    boxes[:, 2:] = boxes[:, :2] + 30
    dets, kept = ops.soft_nms(boxes, scores, sigma=0.3, min_score=0.05, method='gaussian')
    left, now, expected = set(range(200)), scores.double().clone(), []
    while left:
        best = max(left, key=lambda index: now[index])
        left.remove(best)
        expected.append(best)
        for other in list(left):
            over = bbox_overlaps(boxes[best : best + 1], boxes[other : other + 1]).double()
            now[other] *= torch.exp(-(over**2) / 0.3).item()
            if now[other] < 0.05:
                left.remove(other)
    assert kept.tolist() == expected
    torch.testing.assert_close(dets[:, 4].double(), now[expected], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('operator', [ops.RoIAlign(2), ops.RoIAlign(2, pool_mode='max')])
def test_no_regions(operator):
    maps = torch.randn(2, 3, 8, 8, requires_grad=True)
    out = operator(maps, torch.zeros(0, 5))
    assert out.shape == (0, 3, 2, 2)
    out.sum().backward()
    assert maps.grad is None or not maps.grad.any()


@pytest.mark.skipif(not stands_in(), reason='mmcv has no RoIPool for a CPU')
def test_roi_pool_as_its_definition():
    """The largest value between the floor of a cell's start and the ceiling of its end."""
    maps = torch.randn(2, 3, 9, 11, requires_grad=True)
    rois = torch.tensor([[0, 0, 0, 7, 7], [1, 3, 2, 20, 16], [1, -9, -9, -3, -3.0]])
    out = ops.RoIPool((2, 3), spatial_scale=0.5)(maps, rois)
    for region, (picture, x1, y1, x2, y2) in enumerate(rois.tolist()):
        y1, x1, y2, x2 = y1 / 2, x1 / 2, (y2 + 1) / 2, (x2 + 1) / 2
        for row, column in np.ndindex(2, 3):
            top, bottom = (y1 + (y2 - y1) * k / 2 for k in (row, row + 1))
            left, right = (x1 + (x2 - x1) * k / 3 for k in (column, column + 1))
            cell = maps[
                int(picture),
                :,
                max(int(np.floor(top)), 0) : max(int(np.ceil(bottom)), 0),
                max(int(np.floor(left)), 0) : max(int(np.ceil(right)), 0),
            ]
            best = cell.amax((1, 2)) if cell.numel() else torch.zeros(3)
            assert torch.equal(out[region, :, row, column], best)
    out[:2].sum().backward()
    assert maps.grad.sum() == out[:2].numel()
    assert set(maps.grad.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_deformable_convolution_without_offsets_is_a_convolution():
    maps = torch.randn(2, 4, 7, 9)
    layer = ops.DeformConv2dPack(4, 6, 3, padding=1)
    torch.testing.assert_close(
        layer(maps), torch.nn.functional.conv2d(maps, layer.weight, padding=1)
    )
    layer = ops.ModulatedDeformConv2dPack(4, 6, 3, padding=1, stride=2)
    plain = torch.nn.functional.conv2d(maps, layer.weight, padding=1, stride=2)
    torch.testing.assert_close(layer(maps), plain / 2)  # a mask starts as sigmoid(0)


@pytest.mark.parametrize('version', [1, 2])
def test_deformable_convolution_as_torchvision(version):
    """Whose gradients autograd checks against differences."""
    x, weight = (torch.randn(s).double() for s in ((2, 4, 6, 5), (6, 2, 3, 3)))
    offset, mask = torch.randn(2, 36, 6, 5).double(), torch.rand(2, 18, 6, 5).double()
    geometry = (1, 1, 1, 2, 2)
    tensors = [x, offset, mask, weight] if version == 2 else [x, offset, weight]
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    twins = [tensor.clone().requires_grad_() for tensor in tensors]
    if version == 2:
        out = ops.modulated_deform_conv2d(*leaves, None, *geometry)
        other = deform_conv2d(twins[0], twins[1], twins[3], padding=1, mask=twins[2])
    else:
        out = ops.deform_conv2d(*leaves, *geometry)
        other = deform_conv2d(*twins, padding=1)
    torch.testing.assert_close(out, other)
    grad = torch.randn_like(out)
    for one, two in zip(
        torch.autograd.grad(out, leaves, grad), torch.autograd.grad(other, twins, grad), strict=True
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.skipif(not stands_in(), reason='mmcv has none for a CPU')
def test_multi_scale_deformable_attention():
    """What CUDA takes is mmcv's own form, with its gradients."""
    shapes = torch.tensor([[4, 5], [2, 3]])
    value = torch.randn(2, 26, 2, 4, requires_grad=True)
    places = torch.rand(2, 7, 2, 2, 3, 2, requires_grad=True)
    weights = torch.rand(2, 7, 2, 2, 3, requires_grad=True)
    leaves = value, places, weights
    start = torch.tensor([0, 20])
    out = MultiScaleDeformableAttnFunction.apply(value, shapes, start, places, weights, 64)
    other = multi_scale_deformable_attn_pytorch(value, shapes, places, weights)
    torch.testing.assert_close(out, other)
    grad = torch.randn_like(out)
    for one, two in zip(
        torch.autograd.grad(out, leaves, grad),
        torch.autograd.grad(other, leaves, grad),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.skipif(not stands_in(), reason='mmcv has none for a CPU')
def test_weights_of_focal_losses_leave_the_background():
    """mmcv's kernel reads past the weights there."""
    logits, target = torch.randn(4, 3), torch.tensor([0, 3, 2, 1])
    weight = torch.tensor([2.0, 3.0, 5.0])
    plain = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    loss = ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
    torch.testing.assert_close(loss, plain * torch.tensor([2.0, 1.0, 5.0, 3.0])[:, None])
