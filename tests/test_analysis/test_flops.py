"""The count of FLOPs: against arithmetic by hand, against attention written out, against papers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmvit_plugins.analysis import count_config, count_flops
from mmvit_plugins.analysis.build import build_model, input_shape, load_model_config
from mmvit_plugins.analysis.flops import format_flops
from mmvit_plugins.errors import UserError

CONFIGS = Path(__file__).parents[2] / 'configs'


class Call(nn.Module):
    """A function as a network; one parameter, since a network has some."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.function(x)


def count(function, *shape):
    result = count_flops(Call(function), shape)
    assert result['unknown'] == {}
    return result['flops']


class Attention(nn.Module):
    """Multi-head attention with fewer key heads than query heads, fused or written out."""

    def __init__(self, fused, causal=False):
        super().__init__()
        self.fused, self.causal = fused, causal
        self.q, self.k, self.v = nn.Linear(24, 32), nn.Linear(24, 16), nn.Linear(24, 20)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        q, k, v = (
            linear(x).unflatten(2, (heads, -1)).transpose(1, 2)
            for linear, heads in ((self.q, 4), (self.k, 2), (self.v, 2))
        )
        if self.fused:
            return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=True)
        k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        return (q @ k.transpose(-2, -1) * 8**-0.5).softmax(-1) @ v


@pytest.mark.parametrize('causal', [False, True])
def test_fused_attention_counts_as_if_written_out(causal):
    fused = count_flops(Attention(True, causal), (24, 5, 7))
    written_out = count_flops(Attention(False), (24, 5, 7))
    by_hand = 35 * 24 * (32 + 16 + 20) + 4 * 35 * 35 * (8 + 10)
    assert fused['flops'] == written_out['flops'] == by_hand
    assert fused['unknown'] == {}


@pytest.mark.parametrize('need_weights', [False, True])
def test_multihead_attention_module(need_weights):
    """In eval mode without gradients torch fuses the whole module, which must not hide its work."""
    mha = nn.MultiheadAttention(32, 4, batch_first=True).eval()

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = mha

        def forward(self, x):
            x = x.flatten(2).transpose(1, 2)
            return self.mha(x, x, x, need_weights=need_weights)[0]

    fast_path = torch.backends.mha.get_fastpath_enabled()
    result = count_flops(Tokens(), (32, 3, 4))
    assert result['flops'] == 12 * 32 * 32 * 4 + 2 * 12 * 12 * 32
    assert result['unknown'] == {}
    assert torch.backends.mha.get_fastpath_enabled() == fast_path


def test_small_network_by_hand():
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),  # 8x16 from here on
        nn.BatchNorm2d(8),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, padding='same', groups=8),
        nn.AdaptiveAvgPool2d(2),
        nn.UpsamplingBilinear2d(size=(5, 7)),
        nn.Upsample((5, 7), mode='bicubic'),
        nn.Flatten(2),
        nn.LayerNorm(35),
        nn.Linear(35, 10),
    ).eval()
    area = 8 * 16
    expected = {
        'conv': area * 8 * 27 + area * 8 * 9,
        'batch_norm': 2 * 8 * area,
        'group_norm': 5 * 8 * area,
        'adaptive_avg_pool2d': 8 * area,
        'upsample_bilinear2d': 4 * 8 * 35,
        'upsample_bicubic2d': 16 * 8 * 35,
        'layer_norm': 5 * 8 * 35,
        'linear': 8 * 35 * 10,
    }
    result = count_flops(net, (3, 16, 32))
    assert result['operators'] == expected
    assert result['flops'] == sum(expected.values())
    assert result['left_out'] == {'aten::gelu': 1}
    assert result['parts'] == [
        dict(name='Sequential', parameters=result['parameters'], flops=result['flops'])
    ]


@pytest.mark.parametrize(
    ('function', 'flops'),
    [
        # a matrix for every image against one matrix, in both orders: mmengine drops the batch once
        (lambda x: x @ torch.ones(6, 4), 2 * 5 * 6 * 4),
        (lambda x: torch.ones(4, 5) @ x, 2 * 4 * 5 * 6),
        (lambda x: torch.einsum('nchw,nchv->ncwv', x, x), 2 * 5 * 6 * 6),
        (lambda x: torch.einsum('...hw,wv->...hv', x, torch.ones(6, 4)), 2 * 5 * 6 * 4),
        (lambda x: torch.baddbmm(torch.ones(1), x[0], x[0].mT), 2 * 5 * 6 * 5),
        (lambda x: torch.addbmm(torch.ones(1), x[0], x[0].mT), 2 * 5 * 6 * 5),
        (lambda x: torch.addmm(torch.ones(1), x[0, 0], x[0, 0].mT), 5 * 6 * 5),
        (lambda x: x[0, 0] @ torch.ones(6), 5 * 6),
    ],
)
def test_matrix_products(function, flops):
    assert count(function, 2, 5, 6) == flops


def test_work_that_the_rule_does_not_know_is_reported():
    result = count_flops(Call(lambda x: torch.fft.fft2(x).real.relu()), (2, 8, 8))
    assert result['flops'] == 0
    assert list(result['unknown']) == ['aten::fft_fft2', 'aten::real']
    text = format_flops(dict(result, config='fft', shape=[2, 8, 8], shape_from='as asked'))
    assert 'WARNING: not counted, may be real work (calls): fft_fft2 1' in text


def test_trainable_parameters():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1))
    net[0].requires_grad_(False)
    result = count_flops(net, (3, 4, 4))
    assert (result['parameters'], result['trainable']) == (16 + 25, 25)


# Counts of the authors' code with fvcore, and parameters without its dead branch of 66,048.
@pytest.mark.parametrize(
    ('variant', 'parameters', 'backbone', 'whole'),
    [
        ('tiny', 2_127_306, 2.747, 3.294),
        ('small', 2_323_106, 3.003, 3.550),
        ('base', 3_003_954 - 66_048, 4.025, 4.572),
    ],
)
def test_afformer_counts_as_the_official_code(variant, parameters, backbone, whole):
    result = count_config(CONFIGS / f'afformer/afformer_{variant}_ade20k.py')
    parts = {part['name']: round(part['flops'] / 1e9, 3) for part in result['parts']}
    assert result['shape'] == [3, 512, 512]
    assert result['parameters'] == parameters
    assert parts == dict(backbone=backbone, head=0.389, resize=0.157)
    assert round(result['flops'] / 1e9, 3) == whole
    assert sum(part['flops'] for part in result['parts']) == result['flops']
    assert sum(part['parameters'] for part in result['parts']) == parameters


@pytest.mark.slow
def test_afformer_base_on_cityscapes_counts_as_the_official_code():
    result = count_config(CONFIGS / 'afformer/afformer_base_cityscapes.py', (1024, 2048))
    assert round(result['flops'] / 1e9, 3) == 34.376


# Parameters of the authors' code, and its count with fvcore at 224x224.
@pytest.mark.slow
@pytest.mark.parametrize(
    ('variant', 'parameters', 'official'),
    [
        ('small', 22_545_981, 4.818),
        ('medium', 38_689_316, 7.470),
        ('base', 77_950_293, 15.610),
    ],
)
def test_sgformer_counts_as_the_official_code(variant, parameters, official):
    model = build_model(load_model_config(CONFIGS / f'sgformer/sgformer_{variant}_in1k.py'))
    result = count_flops(model, (3, 224, 224))
    # the official code merges every token a second time, to the same result
    second = sum(
        (224 // stride) ** 2 * channels * depth // 2
        for stride, channels, depth in zip(
            (4, 8, 16), model.backbone.stage_channels[:3], model.backbone.depths[:3], strict=True
        )
    )
    assert result['parameters'] == parameters
    assert round((result['flops'] + second) / 1e9, 3) == official
    assert result['unknown'] == {}


@pytest.mark.slow
def test_sgformer_grows_as_predicted():
    """27.5 GFLOPs at 512x512 are convolutions, linear layers and attention, by formula."""
    result = count_config(CONFIGS / 'sgformer/sgformer_small_in1k.py', [512], backbone_only=True)
    left_out = ('layer_norm', 'group_norm', 'upsample_bicubic2d')
    predicted = result['flops'] - sum(result['operators'][name] for name in left_out)
    assert round(predicted / 1e9, 1) == 27.5
    assert result['unknown'] == {}


def test_segformer_b0_agrees_with_the_literature():
    """8.4 GFLOPs are convolutions, linear layers and products, without norms and resizing."""
    result = count_config(CONFIGS / 'benchmark/segformer_mit-b0_ade20k.py')
    operators = result['operators']
    assert round((operators['conv'] + operators['linear'] + operators['bmm']) / 1e9, 1) == 8.4
    assert result['unknown'] == {}


def test_classifier_and_backbone(tmp_path):
    config = tmp_path / 'classifier.py'
    config.write_text(
        "default_scope = 'mmpretrain'\n"
        "model = dict(type='ImageClassifier',\n"
        "    backbone=dict(type='ResNet', depth=18, in_channels=5),\n"
        "    neck=dict(type='GlobalAveragePooling'),\n"
        "    head=dict(type='LinearClsHead', in_channels=512, num_classes=10))\n"
    )
    result = count_config(config, (32, 64))
    assert result['shape'] == [5, 32, 64]
    assert [part['name'] for part in result['parts']] == ['backbone', 'neck', 'head']
    assert result['parts'][-1] == dict(name='head', parameters=5130, flops=5120)
    alone = count_config(config, (32, 64), backbone_only=True)
    assert alone['flops'] == result['parts'][0]['flops']
    assert alone['parameters'] == result['parts'][0]['parameters']
    plain = tmp_path / 'backbone.py'
    plain.write_text(
        "default_scope = 'mmpretrain'\nmodel = dict(type='ResNet', depth=18, in_channels=5)\n"
    )
    assert count_config(plain, (32, 64))['flops'] == alone['flops']


def test_auxiliary_head_is_named_and_left_out(tmp_path):
    head = (
        "dict(type='FCNHead', in_channels=512, in_index=3, channels=8, num_convs=1, num_classes=4,"
        'norm_cfg=dict(type={norm!r}), align_corners=True)'
    )
    base = "default_scope = 'mmseg'\nmodel = dict(type='EncoderDecoder', backbone="
    base += f"dict(type='ResNet', depth=18), decode_head={head.format(norm='SyncBN')}"
    config, with_auxiliary = tmp_path / 'without.py', tmp_path / 'with.py'
    config.write_text(base + ')\n')
    with_auxiliary.write_text(base + f', auxiliary_head={head.format(norm="BN")})\n')
    result, both = count_config(config, [64]), count_config(with_auxiliary, [64])
    assert result['training_only'] == 0
    assert both['training_only'] == result['parts'][1]['parameters']
    assert both['training_only'] == (512 + 520) * 8 * 9 + 2 * 16 + 8 * 4 + 4
    for key in ('flops', 'parameters', 'trainable', 'parts'):
        assert both[key] == result[key]
    assert 'used in training only' in format_flops(both)


@pytest.mark.parametrize(
    ('text', 'shape', 'source'),
    [
        ("model = dict(type='X', data_preprocessor=dict(size=(4, 8)))", (4, 8), 'preprocessor'),
        ("crop_size = (4, 8)\nmodel = dict(type='X')", (4, 8), 'crop_size'),
        (
            "model = dict(type='X')\ntest_pipeline = [dict(type='mmseg.Resize', scale=(8, 4))]",
            (4, 8),
            'Resize',
        ),
        (
            "model = dict(type='X')\n"
            "test_pipeline = [dict(type='Resize', scale=(8, 4), keep_ratio=True)]",
            (512, 512),
            'default',
        ),
        (
            "model = dict(type='X', backbone=dict(), head=dict())\n"
            "test_pipeline = [dict(type='CenterCrop', crop_size=96)]",
            (96, 96),
            'CenterCrop',
        ),
        ("model = dict(type='X', backbone=dict(), head=dict())", (224, 224), 'classifiers'),
    ],
)
def test_shape_that_a_config_is_made_for(tmp_path, monkeypatch, text, shape, source):
    monkeypatch.setitem(MODELS.module_dict, 'X', lambda **settings: None)
    (tmp_path / 'config.py').write_text(text)
    found, origin = input_shape(load_model_config(tmp_path / 'config.py'))
    assert found == (3, *shape)
    assert source in origin


def test_unusable_configs_and_shapes(tmp_path):
    with pytest.raises(UserError, match='does not exist'):
        count_config(tmp_path / 'missing.py')
    (tmp_path / 'empty.py').write_text('x = 1\n')
    with pytest.raises(ValueError, match='no dict named "model"'):
        count_config(tmp_path / 'empty.py')
    for shape in ((0,), (8, -8), (1, 2, 3)):
        with pytest.raises(ValueError, match='height, width'):
            count_config(CONFIGS / 'benchmark/segformer_mit-b0_ade20k.py', shape)
