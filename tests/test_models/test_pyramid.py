"""ToPyramid: strides, odd sizes, gradients, bad arguments, and what it computes."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS as ROOT

from mmvit_plugins.layers import ceil_div
from mmvit_plugins.models import AFFormer, T2TViT, ToPyramid

AFFORMER = dict(in_channels=(4, 6, 8, 8), in_strides=(4, 8, 8, 8), out_strides=(4, 8, 16, 32))
T2T = dict(in_channels=(8,), in_strides=(16,), out_strides=(4, 8, 16, 32))
ARCH = dict(
    embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=4, mlp_ratio=2, windows={3: 2, 5: 2}
)


def maps(options, height, width, batch=2):
    return tuple(
        torch.randn(batch, channels, ceil_div(height, stride), ceil_div(width, stride))
        for channels, stride in zip(options['in_channels'], options['in_strides'], strict=True)
    )


@pytest.mark.parametrize('options', [AFFORMER, T2T], ids=['afformer', 't2t_vit'])
@pytest.mark.parametrize(('height', 'width'), [(64, 96), (33, 97), (5, 3), (1, 1)])
def test_strides_and_channels(options, height, width):
    neck = ToPyramid(**options)
    outs = neck(maps(options, height, width))
    assert neck.strides == (4, 8, 16, 32)
    assert [out.shape[1] for out in outs] == list(neck.out_channels)
    for out, stride, source in zip(outs, neck.strides, neck.sources, strict=True):
        came = options['in_strides'][source]
        for side, length in zip(out.shape[2:], (height, width), strict=True):
            if stride >= came:
                assert side == ceil_div(length, stride)
            else:
                assert side == ceil_div(length, came) * (came // stride)


def test_a_map_of_the_right_stride_stays_itself():
    inputs = maps(AFFORMER, 64, 96)
    outs = ToPyramid(**AFFORMER)(inputs)
    assert outs[0] is inputs[0] and outs[1] is inputs[1]


def test_what_is_computed():
    """Against torch's functions: convolution, norm over a picture, GELU, transposed convolution."""
    neck = ToPyramid((4,), (16,), (4, 64)).double()
    x = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    outs = neck((x,))

    def between(x):
        mean, var = x.mean((1, 2, 3), True), x.var((1, 2, 3), correction=0, keepdim=True)
        return F.gelu((x - mean) / (var + 1e-5).sqrt())

    for out, step, op in (
        (outs[0], neck.steps[0], lambda x, m: F.conv_transpose2d(x, m.weight, m.bias, stride=2)),
        (outs[1], neck.steps[1], lambda x, m: F.conv2d(x, m.weight, m.bias, 2, 1)),
    ):
        torch.testing.assert_close(out, op(between(op(x, step[0])), step[3]))


@pytest.mark.parametrize('options', [AFFORMER, T2T], ids=['afformer', 't2t_vit'])
def test_every_parameter_learns_alone_too(options):
    neck = ToPyramid(**options)
    outs = neck(maps(options, 64, 64, batch=1))
    sum((out * torch.randn_like(out)).sum() for out in outs).backward()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


def test_saved_and_loaded_it_gives_the_same():
    inputs = maps(T2T, 40, 24)
    first, second = ToPyramid(**T2T), ToPyramid(**T2T)
    second.load_state_dict(first.state_dict())
    for one, other in zip(first(inputs), second(inputs), strict=True):
        assert torch.equal(one, other)


def test_bfloat16_and_one_graph_for_all_sizes():
    neck = ToPyramid(**AFFORMER)
    inputs = maps(AFFORMER, 64, 64)
    expected = neck(inputs)
    with torch.autocast('cpu', torch.bfloat16):
        outs = neck(inputs)
    assert outs[3].dtype is torch.bfloat16
    for one, other in zip(outs, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.1, atol=0.1)
    compiled = torch.compile(neck, fullgraph=True, dynamic=True, backend='eager')
    for size in ((64, 96), (96, 64)):
        inputs = maps(AFFORMER, *size)
        for one, other in zip(compiled(inputs), neck(inputs), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    'backbone',
    [lambda: AFFormer(ARCH), lambda: T2TViT('7', out_indices=(2,))],
    ids=['afformer', 't2t_vit'],
)
def test_behind_the_backbones_it_is_for(backbone):
    backbone = backbone()
    neck = ToPyramid(backbone.out_channels, backbone.strides, (4, 8, 16, 32))
    outs = neck(backbone(torch.randn(1, 3, 64, 96)))
    assert [tuple(out.shape[2:]) for out in outs] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_the_prefix_finds_it_from_the_root():
    assert type(ROOT.build(dict(AFFORMER, type='mmvit_plugins.ToPyramid'))) is ToPyramid


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (dict(in_channels=(4, 6, 8)), 'one entry for each map'),
        (dict(in_channels=(4, 6, 0, 8)), 'in_channels=.* positive integers'),
        (dict(out_strides=(4, 8, 16)), r'sources=\[0, 1, 2, 3\] must name'),
        (dict(sources=(0, 1, 2, 4)), 'must name one of the 4 maps'),
        (dict(sources=(0, 1, 2, 2)), r'leaves out the maps \[3\].*out_indices'),
        (dict(out_strides=(4, 8, 16, 24)), 'stride 24 cannot be made from 8'),
        (dict(in_strides=(3, 8, 8, 8)), 'stride 4 cannot be made from 3'),
    ],
)
def test_bad_arguments_get_a_sentence(change, match):
    with pytest.raises(ValueError, match=f'ToPyramid: .*{match}'):
        ToPyramid(**AFFORMER | change)


def test_other_maps_than_announced_get_a_sentence():
    neck = ToPyramid(**AFFORMER)
    inputs = maps(AFFORMER, 32, 32)
    with pytest.raises(ValueError, match='ToPyramid: 3 maps came, but .* announces 4'):
        neck(inputs[:3])
    with pytest.raises(ValueError, match=r'map 1 has the shape .* but \(N, 6, H, W\) is needed'):
        neck((inputs[0], inputs[2], inputs[1], inputs[3]))
    with pytest.raises(ValueError, match='no sequence came'):
        neck(inputs[0])
