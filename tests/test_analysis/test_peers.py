"""Networks by name: torchvision's, timm's through a stand-in for it, and names that nobody has."""

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from mmvit_plugins.analysis import build, count_config
from mmvit_plugins.analysis.build import build_peer
from mmvit_plugins.errors import UserError


@pytest.fixture
def timm(monkeypatch):
    """What of timm is used, as timm has it: one network of a fixed size, one of any, one flat."""
    module = ModuleType('timm')
    module.__spec__ = importlib.machinery.ModuleSpec('timm', None)
    module.made = []

    def create_model(name, **arguments):
        if name == 'flat' and arguments.get('features_only'):
            raise RuntimeError('features_only not implemented')
        module.made.append((name, arguments))
        return nn.Conv2d(3, 8, 3)

    module.create_model = create_model
    module.list_models = lambda: ['fixed', 'free', 'flat']
    module.get_pretrained_cfg = lambda name: SimpleNamespace(
        fixed_input_size=name.startswith('fixed')
    )
    monkeypatch.setitem(sys.modules, 'timm', module)
    return module


def test_torchvision_counts_as_the_official_code():
    result = count_config('torchvision:swin_t')
    assert result['shape'] == [3, 224, 224]
    assert result['parameters'] == 28_288_354
    assert round(result['flops'] / 1e9, 3) == 4.509
    assert result['unknown'] == {}


def test_maps_of_torchvision():
    """They are those of all stages, before the next downsampling, and no head is left."""
    swin = build_peer('torchvision:swin_t', (64, 96), maps=True).eval()
    stages, x = nn.Sequential(*swin), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        maps = swin(x)
        assert torch.equal(maps[0], stages[:2](x)) and torch.equal(maps[-1], stages(x))
    assert [tuple(m.shape) for m in maps] == [(1, 64 // s, 96 // s, 24 * s) for s in (4, 8, 16, 32)]
    assert sum(p.numel() for p in swin.parameters()) == 28_288_354 - 769_000 - 2 * 768
    with pytest.raises(UserError, match='torchvision:resnet18 has no list of stages'):
        build_peer('torchvision:resnet18', (64, 96), maps=True)


def test_timm_is_asked_for_what_it_has(timm):
    """A network of one size is built for the size; a tag that names weights changes nothing."""
    counted = count_config('timm:fixed.some_weights', (32, 48))
    assert counted['flops'] == 30 * 46 * 8 * 27
    build_peer('timm:fixed', (32, 48), maps=True)
    build_peer('timm:free', (32, 48))
    build_peer('timm:flat', (32, 48))
    assert timm.made == [
        ('fixed.some_weights', dict(img_size=(32, 48))),
        ('fixed', dict(features_only=True, img_size=(32, 48))),
        ('free', {}),
        ('flat', {}),
    ]
    with pytest.raises(UserError, match=r'flat has no maps \(features_only not implemented\)'):
        build_peer('timm:flat', (32, 48), maps=True)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('torchvision:swin_tt', "torchvision has no classifier named 'swin_tt'; close: swin_t, "),
        # its constructor would fetch weights
        ('torchvision:fcn_resnet50', "no classifier named 'fcn_resnet50'"),
        ('torchvision:', r'close: see torchvision.list_models\(\)'),
        ('timm:fixd', "timm has no classifier named 'fixd'; close: fixed"),
    ],
)
def test_unknown_names(timm, name, message):
    with pytest.raises(UserError, match=message):
        build_peer(name, (32, 32))
    assert not timm.made


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(build, 'is_available', lambda package: package != 'timm')
    with pytest.raises(UserError) as error:
        count_config('timm:swin_tiny_patch4_window7_224')
    assert str(error.value) == (
        'timm:swin_tiny_patch4_window7_224 needs timm, which is not installed: '
        'pip install "mmvit_plugins[benchmark]"'
    )
