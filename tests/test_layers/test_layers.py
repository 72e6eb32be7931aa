"""The shared layers against their definitions."""

import pytest
import torch
from torch import nn

from mmvit_plugins.layers import ConvMlp, ConvNormAct, DropPath, drop_path_rates, mlp


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
def test_mlp_in_strips_is_the_same(rows, monkeypatch):
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
