"""The shared layers against their definitions."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmvit_plugins.layers import (
    Cache,
    ConvMlp,
    ConvNormAct,
    DropPath,
    Mlp,
    attention,
    drop_path_rates,
    init_weights,
    mlp,
    window_partition,
    window_reverse,
)


def test_conv_norm_act_folds_its_norm():
    unit = ConvNormAct(4, 8, 3, 2, act=nn.Hardswish()).eval()
    unit.norm.running_mean.normal_()
    unit.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 9, 13)
    expected = unit(x)
    assert expected.shape == (2, 8, 5, 7)
    unit.fuse()
    unit.fuse()
    assert torch.allclose(unit(x), expected, atol=1e-5)
    assert isinstance(unit.norm, nn.Identity)


def test_norm_cfg_reaches_the_norm():
    unit = ConvNormAct(4, 8, norm_cfg={'type': 'SyncBN', 'eps': 1e-3, 'requires_grad': False})
    assert isinstance(unit.norm, nn.SyncBatchNorm) and unit.norm.eps == 1e-3
    assert not any(p.requires_grad for p in unit.norm.parameters())
    with pytest.raises(ValueError, match="'GN' is unknown"):
        ConvNormAct(4, 8, norm_cfg={'type': 'GN'})


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    drop = DropPath(0.25)
    x = torch.ones(4000, 3, 2)
    out = drop.train()(x)
    values = out[:, 0, 0]
    assert values.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (out == values[:, None, None]).all()
    assert values.mean() == pytest.approx(1, abs=0.05)
    assert drop.eval()(x) is x


def test_drop_path_rates():
    assert drop_path_rates(0.1, 9) == pytest.approx([0.0125 * i for i in range(9)])
    assert drop_path_rates(0.3, 1) == [0.0]


@pytest.mark.parametrize('rows', [1, 2, 5, 6, 7])
def test_conv_mlp_in_strips_is_the_same(rows, monkeypatch):
    layer, x = ConvMlp(4, 8).double().eval(), torch.randn(2, 7, 5, 4, dtype=torch.float64)
    expected = layer(x)
    calls = []
    layer.fc1.register_forward_hook(lambda module, args, out: calls.append(out.shape[1]))
    monkeypatch.setattr(mlp, 'STRIP', rows * 2 * 5 * 8)
    with torch.no_grad():
        assert torch.allclose(layer(x), expected)
    assert len(calls) == -(-7 // rows) and max(calls) <= rows + 2
    calls.clear()
    assert torch.equal(layer(x), expected) and calls == [7]


@pytest.mark.parametrize('sides', [(6, 8), (5, 7), (2, 3)])
def test_windows_are_cut_row_by_row_and_joined_again(sides):
    count, size = [-(-side // 3) for side in sides], (3, 3)
    x = torch.randn(2, *sides, 4)
    cut = window_partition(x, count, size)
    assert cut.shape == (2, count[0] * count[1], 9, 4)
    full = nn.functional.pad(x, (0, 0, 0, 3 * count[1] - sides[1], 0, 3 * count[0] - sides[0]))
    for i in range(count[0] * count[1]):
        top, left = 3 * (i // count[1]), 3 * (i % count[1])
        assert torch.equal(cut[:, i], full[:, top : top + 3, left : left + 3].flatten(1, 2))
    assert torch.equal(window_reverse(cut, count, size, sides), x)


BIASES = {
    'none': lambda h, rows, columns, windows: None,
    'one': lambda h, rows, columns, windows: torch.randn(h, rows, columns).double(),
    'each': lambda h, rows, columns, windows: torch.randn(windows, h, rows, columns).double(),
}


@pytest.mark.parametrize('bias', BIASES)
@pytest.mark.parametrize('learns', [False, True])
def test_attention_is_its_formula(bias, learns):
    """On a CPU, a bias that learns takes another way."""
    q, k, v = (torch.randn(2, 6, 3, length, 4).double() for length in (5, 7, 7))
    bias = BIASES[bias](3, 5, 7, 6)
    if bias is not None:
        bias.requires_grad_(learns)
    for scale in (None, 0.3):
        logits = q @ k.mT * (scale or 0.5) + (0 if bias is None else bias)
        expected = logits.softmax(-1) @ v
        assert torch.allclose(attention(q, k, v, bias, scale), expected)
    if bias is None or bias.ndim == 3:  # without windows it broadcasts by itself
        out = attention(q[:, 0], k[:, 0], v[:, 0], bias, 0.3)
        assert torch.allclose(out, expected[:, 0])


@pytest.mark.parametrize('bias', BIASES)
def test_attention_is_fused(bias):
    """Kernels refuse shapes and layouts without a word, and torch falls back."""
    qkv = torch.randn(2, 6, 5, 3, 3, 4).double().permute(3, 0, 1, 4, 2, 5)
    bias = BIASES[bias](3, 5, 5, 6)
    expected = attention(*qkv, bias)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where it cannot
        assert torch.equal(attention(*qkv, bias), expected)
        if bias is None or bias.ndim == 3:
            attention(*(t[:, 0] for t in qkv), bias)


def test_attention_looks_only_where_a_mask_is_true():
    q, k, v = (torch.randn(2, 3, 5, 4) for _ in range(3))
    mask = torch.tensor([True, False, True, True, False]).view(1, 1, 1, 5)
    seen = mask.flatten()
    expected = attention(q, k[:, :, seen], v[:, :, seen])
    assert torch.allclose(attention(q, k, v, mask), expected, atol=1e-6)


@pytest.mark.parametrize('windows', [False, True])
def test_attention_gives_the_gradients_of_its_formula(windows):
    shape = (2, 6, 3, 5, 4) if windows else (2, 3, 5, 4)
    inputs = [torch.randn(shape).double().requires_grad_() for _ in range(3)]
    bias = torch.randn(6, 3, 5, 5) if windows else torch.randn(3, 5, 5)
    inputs.append(bias.double().requires_grad_())
    q, k, v, bias = inputs
    grads = []
    for out in (attention(q, k, v, bias), (q @ k.mT / 2 + bias).softmax(-1) @ v):
        grads.append(torch.autograd.grad(out.square().sum(), inputs))
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b)


def test_attention_drops_weights_only_if_told():
    q, k, v = (torch.randn(1, 1, 50, 4) for _ in range(3))
    with torch.no_grad():
        assert torch.equal(attention(q, k, v), attention(q, k, v))
        v = torch.ones_like(v)
        dropped = torch.stack([attention(q, k, v, dropout_p=0.5) for _ in range(20)])
    assert dropped.std() > 0.05 and dropped.mean() == pytest.approx(1, abs=0.1)


def test_attention_in_half_precision_takes_a_float32_bias():
    q, k, v = (torch.randn(2, 6, 3, 5, 4, dtype=torch.bfloat16) for _ in range(3))
    out = attention(q, k, v, torch.randn(6, 3, 5, 5))
    assert out.dtype == torch.bfloat16 and torch.isfinite(out).all()


@pytest.mark.parametrize('tokens', [1, 4, 29, 30])
def test_mlp_in_strips_is_the_same(tokens, monkeypatch):
    layer, x = Mlp(4, 8).double().eval(), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    expected = layer(x)
    calls = []
    layer.fc1.register_forward_hook(lambda module, args, out: calls.append(out.numel() // 8))
    monkeypatch.setattr(mlp, 'STRIP', tokens * 8)
    monkeypatch.setattr(mlp, 'WHOLE', tokens * 8)
    with torch.no_grad():
        assert torch.allclose(layer(x), expected)
    assert sum(calls) == 30 and max(calls) <= tokens and len(calls) == -(-30 // tokens)
    calls.clear()
    assert torch.equal(layer(x), expected) and calls == [30], 'in training nothing is cut'


def test_plain_mlp():
    layer, x = Mlp(4, 8, drop_rate=0.5).eval(), torch.randn(2, 3, 4)
    expected = layer.fc2(nn.functional.gelu(layer.fc1(x)))
    assert torch.equal(layer(x), expected)
    assert not torch.equal(layer.train()(x), expected)


def test_cached_value_is_made_again_when_its_origin_changes():
    made = []

    def make():
        made.append(1)
        return weight * 2

    weight, cache = nn.Parameter(torch.ones(3)), Cache()
    with torch.no_grad():
        first = cache(make, 7, weight)
        assert cache(make, 7, weight) is first and len(made) == 1
        for change in (
            lambda: weight.add_(1),
            lambda: setattr(weight, 'data', torch.zeros(3)),
            lambda: setattr(weight, 'data', weight.data.double()),
            cache.clear,
        ):
            change()
            assert torch.equal(cache(make, 7, weight), weight * 2)
        assert len(made) == 5
        cache(make, 8, weight)
        assert len(made) == 6
    cache.clear()
    with torch.inference_mode():
        value = cache(make, 7, weight)
    assert not value.requires_grad and not value.is_inference()
    cache.limit = 2
    assert cache(make, 8, weight) is not cache(make, 8, weight) and cache.value is None


def test_nothing_is_cached_of_tensors_without_memory():
    """Counting and exporting run on these, and would leave them behind."""
    cache = Cache()
    for weight in (torch.ones(3, device='meta'), FakeTensorMode().from_tensor(torch.ones(3))):
        cache(lambda weight=weight: weight * 2, weight)
        assert cache.value is None


def test_layers_are_drawn_in_the_order_in_which_they_stand():
    """Or a seed would give other weights than those that recorded results began with."""
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 4), nn.Conv2d(4, 5, 1, bias=False))
    torch.manual_seed(5)
    init_weights(layers)
    torch.manual_seed(5)
    for layer, std in zip(layers, ((2 / 27) ** 0.5, None, (2 / 5) ** 0.5), strict=True):
        if std:
            expected = nn.init.normal_(torch.empty_like(layer.weight), std=std)
        else:
            expected = nn.init.trunc_normal_(torch.empty_like(layer.weight), std=0.02)
        assert torch.equal(layer.weight, expected)
        assert layer.bias is None or not layer.bias.any()
