"""Matrix products alone: what is counted as one, and that exactly those run."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmvit_plugins.analysis import count_flops
from mmvit_plugins.analysis.products import MatrixProducts, _Recorder


def products(function, *tensors):
    return MatrixProducts(lambda: function(*tensors), tensors[1:])


@pytest.mark.parametrize(
    ('function', 'shapes', 'flops'),
    [
        (torch.matmul, [(2, 5, 6), (6, 4)], 2 * 5 * 6 * 4),
        (torch.matmul, [(2, 5, 6), (2, 6, 4)], 2 * 5 * 6 * 4),
        (lambda x, w, b: F.linear(x, w, b), [(2, 5, 6), (4, 6), (4,)], 2 * 5 * 6 * 4),
        (lambda x, w: torch.baddbmm(torch.ones(1), x, w), [(2, 5, 6), (2, 6, 4)], 2 * 5 * 6 * 4),
        (F.conv2d, [(2, 6, 8, 7), (4, 6, 3, 3)], 2 * 4 * 6 * 9 * 6 * 5),
        (
            lambda x, w: F.conv2d(x, w, groups=3),
            [(2, 6, 8, 7), (6, 2, 3, 1)],
            2 * 6 * 2 * 3 * 6 * 7,
        ),
        (F.conv_transpose2d, [(2, 6, 8, 7), (6, 4, 2, 2)], 2 * 8 * 7 * 6 * 4 * 4),
        # sums and filters
        (torch.matmul, [(2, 5, 6), (6, 1)], 0),
        (lambda x, w: F.conv2d(x, w, groups=6), [(2, 6, 8, 7), (6, 1, 3, 3)], 0),
        (F.conv2d, [(2, 6, 8, 7), (1, 6, 3, 3)], 0),
        (torch.add, [(2, 5, 6), (6,)], 0),
    ],
)
def test_products_of_operators(function, shapes, flops):
    assert products(function, *map(torch.rand, shapes)).flops == flops


@pytest.mark.parametrize('heads', [2, 4])
def test_fused_attention_is_two_products(heads):
    q, k, v = torch.rand(3, 4, 5, 8), torch.rand(3, heads, 7, 8), torch.rand(3, heads, 7, 8)
    floor = products(lambda *qkv: F.scaled_dot_product_attention(*qkv, enable_gqa=True), q, k, v)
    assert floor.flops == 3 * 4 * 5 * 7 * 16


class Block(nn.Module):
    """What transformers are made of: a convolution, linear layers with and without bias."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48, bias=False)
        self.mlps = nn.Sequential(*(self.mlp() for _ in range(2)))

    @staticmethod
    def mlp():
        return nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))

    def forward(self, x):
        x = self.stem(x).flatten(2).mT
        q, k, v = self.qkv(self.norm(x)).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.mlps(x)


def test_a_network_counts_as_by_the_rule_and_runs_just_its_products():
    net = Block().eval()
    x = torch.rand(1, 3, 16, 24)
    floor = MatrixProducts(lambda: net(x), net.parameters())
    counted = count_flops(net, (3, 16, 24))['operators']
    assert floor.flops == sum(counted.values()) - counted['layer_norm']

    ran = []
    with _Recorder(lambda name, args, out: ran.append((name, [t.data_ptr() for t in args]))):
        floor()
    weights = [p.data_ptr() for p in net.parameters() if p.ndim > 1]
    names = ' '.join(name.removeprefix('aten::') for name, _ in ran)
    assert names == 'bmm mm bmm bmm mm mm mm mm'
    pointers = [pair for _, pair in ran]
    assert [right for _, right in pointers[:2] + pointers[4:]] == weights
    assert pointers[5][0] == pointers[7][0]  # activations of one shape share their memory
    assert floor.nbytes > sum(p.nbytes for p in net.parameters() if p.ndim > 1)
