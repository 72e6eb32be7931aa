"""Contiguous copies, which are made in a way of their own on a CPU."""

import pytest
import torch

from mmvit_plugins.ops.layout import contiguous

MAPS = {
    'channels-last': torch.randn(2, 70, 9, 11).to(memory_format=torch.channels_last),
    'tokens of a longer sequence': torch.randn(2, 100, 7)[:, 1:].mT.unflatten(2, (9, 11)),
    'part': torch.randn(2, 3, 9, 11)[:, :, 1:, ::2],
    'transposed': torch.randn(2, 3, 9, 11).mT,
    'expanded': torch.randn(2, 1, 9, 1).expand(2, 3, 9, 11),
    'no picture': torch.randn(0, 9, 11, 3).permute(0, 3, 1, 2),
    'no pixel': torch.randn(2, 9, 3, 0).permute(0, 2, 1, 3),
    'integers': torch.randint(9, (2, 9, 11, 3)).permute(0, 3, 1, 2),
    'halves': torch.randn(2, 80, 80, 64).bfloat16().permute(0, 3, 1, 2),
    'rows': torch.randn(6, 4).T,
    'clips': torch.randn(1, 2, 3, 4, 5).mT,
}


@pytest.mark.parametrize('name', MAPS)
def test_copies_hold_the_same(name):
    x = MAPS[name]
    copy = contiguous(x)
    assert torch.equal(copy, x) and copy.dtype == x.dtype
    assert copy.is_contiguous() and copy.stride() == x.contiguous().stride()
    assert contiguous(copy) is copy


def test_gradients_pass():
    """Where autograd looks on; inside of its functions, where most calls are, it does not."""
    x = MAPS['channels-last'].clone().requires_grad_()
    weight = torch.randn_like(x)
    (contiguous(x) * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    with torch.no_grad():
        assert torch.equal(contiguous(x), x)
    with torch.inference_mode():
        assert torch.equal(contiguous(x), x)
