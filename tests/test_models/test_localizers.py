"""Localizers: responses against weights computed by hand in float64, and what they leave behind."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import FlopAnalyzer
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from mmvit_plugins.models.localizers import (
    ActivationLocalizer,
    AttentionLocalizer,
    crop_boxes,
    find_boxes,
)
from mmvit_plugins.registry import MODELS

ARCH = dict(embed_dims=12, num_layers=3, num_heads=2, feedforward_channels=16)
VIT = dict(type='mmpretrain.VisionTransformer', arch=ARCH, img_size=32, patch_size=8)
NO_TOKEN = dict(with_cls_token=False, out_type='featmap')
DISTILLED = dict(type='mmpretrain.DistilledVisionTransformer')
NETWORKS = {  # changes of the config, size of the picture
    'class token': (dict(), (32, 32)),
    'no class token': (NO_TOKEN, (32, 32)),
    'distilled': (DISTILLED, (32, 32)),
    'position embedding resized': (dict(), (40, 56)),
    'sides that the patch does not divide': (NO_TOKEN, (37, 50)),
    'distilled, resized, another patch': (DISTILLED | dict(patch_size=5), (25, 40)),
    'one patch': (dict(), (8, 8)),
    'a patch that is not square': (dict(patch_size=(8, 16)), (32, 48)),
    'dropout': (dict(drop_rate=0.5, drop_path_rate=0.5), (32, 32)),
    'of one layer': (dict(arch=ARCH | dict(num_layers=1)), (32, 32)),
    'layer scale, before a norm': (dict(layer_scale_init_value=0.5, pre_norm=True), (32, 32)),
    'DeiT III': (dict(type='mmpretrain.DeiT3'), (32, 48)),
}


def build(vit=None, **options):
    """Weights are large enough that attention is far from uniform."""
    localizer = MODELS.build(
        dict(type='mmvit_plugins.AttentionLocalizer', vit=copy.deepcopy(VIT | (vit or {})))
        | options
    )
    for name, parameter in localizer.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.5 if 'qkv' in name or 'pos' in name else 0.1)
    return localizer


def by_hand(vit, x):
    """Weights ``(layers, N, heads, L, L)`` in float64, from each attention's input and weights."""
    vit = copy.deepcopy(vit).double()
    weights = []

    def keep(attn, args):
        tokens = args[0]
        head = attn.qkv.in_features // attn.num_heads
        rows = attn.qkv.weight.shape[0] // 3
        layer = []
        for i in range(attn.num_heads):
            q, k = (
                tokens @ attn.qkv.weight[part].T + attn.qkv.bias[part]
                for part in (
                    slice(i * head, (i + 1) * head),
                    slice(rows + i * head, rows + (i + 1) * head),
                )
            )
            scores = torch.einsum('nqd,nkd->nqk', q, k) / head**0.5
            layer.append(scores.exp() / scores.exp().sum(dim=2, keepdim=True))
        weights.append(torch.stack(layer, dim=1))

    for layer in vit.layers:
        layer.attn.register_forward_pre_hook(keep)
    with torch.no_grad():
        vit(x.double())
    return torch.stack(weights)


def respond_by_hand(weights, extra, method, queries):
    if method == 'sum':
        received = weights.mean(dim=(0, 2))
    else:
        received = torch.eye(weights.shape[-1], dtype=torch.float64)
        for layer in weights:
            received = (layer.mean(dim=1) / 2 + torch.eye(layer.shape[-1]) / 2) @ received
    patches = received.shape[-1] - extra
    if queries == 'cls':
        return received[:, 0, extra:] * patches
    return received[:, extra:, extra:].sum(dim=1)


@pytest.mark.parametrize('method', ['sum', 'rollout'])
@pytest.mark.parametrize('queries', ['patch', 'cls'])
@pytest.mark.parametrize('network', NETWORKS)
def test_response_is_that_of_weights_by_hand(network, method, queries):
    vit, size = NETWORKS[network]
    if queries == 'cls' and vit is NO_TOKEN:
        with pytest.raises(ValueError, match=r"queries='cls' needs a class token"):
            build(vit, queries=queries)
        return
    localizer = build(vit, method=method, queries=queries)
    x = torch.randn(2, 3, *size)
    response = localizer(x)
    patch = vit.get('patch_size', 8)
    patch = patch if isinstance(patch, tuple) else (patch, patch)
    grid = tuple(-(-side // step) for side, step in zip(size, patch, strict=True))
    assert response.shape == (2, *grid) and response.dtype == torch.float32
    weights = by_hand(localizer.vit, x)
    assert weights.shape[0] == len(localizer.vit.layers)
    extra = weights.shape[-1] - grid[0] * grid[1]
    assert extra == (0 if vit is NO_TOKEN else 2 if vit.get('type') == DISTILLED['type'] else 1)
    expected = respond_by_hand(weights, extra, method, queries)
    assert torch.allclose(response.flatten(1).double(), expected, rtol=1e-4, atol=1e-6)
    assert grid == (1, 1) or expected.std() > 0.02, 'else there is nothing to compare'


def test_importance_adds_up():
    """All rows of all weights sum to 1, and what patches do not receive the class token does."""
    x = torch.randn(2, 3, 32, 40)
    localizer = build(NO_TOKEN)
    importance = localizer(x) * len(localizer.vit.layers) * ARCH['num_heads']
    expected = ARCH['num_layers'] * ARCH['num_heads'] * 4 * 5
    assert importance.sum(dim=(1, 2)).tolist() == pytest.approx([expected] * 2, rel=1e-5)
    assert localizer(x).mean(dim=(1, 2)).tolist() == pytest.approx([1, 1], rel=1e-5)
    localizer = build()
    lost = by_hand(localizer.vit, x)[..., 1:, 0].sum(dim=-1).mean(dim=(0, 2))
    assert torch.allclose(localizer(x).sum(dim=(1, 2)).double(), 20 - lost, rtol=1e-5)


@pytest.mark.parametrize('autocast', [True, False])
@pytest.mark.parametrize('method', ['sum', 'rollout'])
def test_bfloat16_weights_still_add_up(autocast, method):
    """To far better than bfloat16 can say, since their softmax is in float32."""
    localizer, x = build(NO_TOKEN, method=method), torch.randn(2, 3, 64, 64)
    expected = localizer(x)
    if autocast:
        with torch.autocast('cpu', torch.bfloat16):
            response = localizer(x)
    else:
        response = localizer.bfloat16()(x.bfloat16())
    assert response.dtype == torch.float32
    assert response.mean(dim=(1, 2)).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (response - expected).abs().max() < 0.1 * expected.max()
    assert not torch.equal(response, expected)


def test_batch_is_its_pictures():
    localizer, x = build(), torch.randn(4, 3, 32, 48)
    response = localizer(x)
    for i in range(4):
        assert torch.allclose(response[i], localizer(x[i : i + 1])[0], atol=1e-5)
    assert localizer(x[:0]).shape == (0, 4, 6)


@pytest.mark.parametrize(('size', 'sides'), [(16, (16, 16)), ((24, 40), (24, 40))])
def test_pictures_are_resized(size, sides):
    """With antialiasing, for pictures smaller than a patch too, and not where nothing changes."""
    localizer = build(size=size)
    for shape in ((64, 50), (5, 7), sides):
        x = torch.randn(1, 3, *shape)
        expected = F.interpolate(x, sides, mode='bilinear', antialias=True)
        expected = x if shape == sides else expected
        free = AttentionLocalizer(copy.deepcopy(VIT))
        free.load_state_dict(localizer.state_dict())
        assert torch.equal(localizer(x), free(expected))
    assert localizer(torch.randn(1, 3, 64, 64, dtype=torch.float32)).shape == (
        1,
        *(side // 8 for side in sides),
    )


@pytest.mark.parametrize('shape', [(1, 3, 7, 32), (1, 3, 32, 7), (1, 4, 32, 32), (3, 32, 32)])
def test_pictures_it_cannot_take_are_named(shape):
    with pytest.raises(ValueError, match=r'takes \(N, 3, H, W\) with H >= 8 and W >= 8') as error:
        build()(torch.randn(shape))
    assert str(shape) in str(error.value)


def test_statistics_are_kept_for_the_classifier():
    localizer = build(mean=[127.5] * 3, std=[50.0] * 3)
    assert localizer.mean == [127.5] * 3 and localizer.std == [50.0] * 3
    assert build().mean is build().std is None
    assert not localizer.needs_maps


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(method='mean'), "method='mean' must be one of"),
        (dict(queries='all'), "queries='all' must be one of"),
        (dict(mean=[0.0] * 3), 'give both or neither'),
        (dict(std=[1.0] * 3), 'give both or neither'),
        (dict(size=0), 'size=0 must be a positive'),
        (dict(size=(8, 8, 8)), r'size=.8, 8, 8. must be a positive'),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=f'AttentionLocalizer: .*{message}'):
        build(**options)


@pytest.mark.parametrize(
    'network',
    [
        dict(type='mmpretrain.ResNet', depth=18, base_channels=4, stem_channels=4),
        dict(type='mmpretrain.BEiTViT', arch=ARCH, img_size=32, patch_size=8),  # position bias
        dict(type='mmpretrain.ViTEVA02', arch=ARCH | dict(embed_dims=16), img_size=32),  # rotation
        dict(type='mmvit_plugins.AFFormer', arch='tiny'),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_networks_of_another_kind_are_refused(network):
    name = network['type'].split('.')[1]
    with pytest.raises(ValueError, match=f'{name} came, but a plain vision transformer is needed'):
        AttentionLocalizer(copy.deepcopy(network))


class PlainAttention(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.num_heads = 1
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x, scale=1):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(F.scaled_dot_product_attention(q, k, v))


class PlainLayer(nn.Module):
    def __init__(self, dims):
        super().__init__()
        self.attn = PlainAttention(dims)

    def forward(self, x, scale):
        return x + self.attn(x, scale) * scale


class PlainViT(nn.Module):
    """Not mmpretrain's, with other calls; ``fault`` makes it do what no such network does."""

    num_extra_tokens = 0

    def __init__(self, dims=4, fault=None):
        super().__init__()
        self.cut = nn.Conv2d(1, dims, 4, 4)
        self.layers = nn.ModuleList(PlainLayer(dims) for _ in range(2))
        self.fault = fault

    def forward(self, x):
        x = self.cut(x).flatten(2).mT
        if self.fault == 'pools':
            x = x[:, ::2]
        if self.fault == 'map':
            x = x.unsqueeze(1)
        for layer in self.layers[: 1 if self.fault == 'skips' else 2]:
            x = layer(x, 0.5)
        return x


@pytest.fixture
def plain(monkeypatch):
    MODELS.register_module(name='PlainViT', module=PlainViT)
    yield lambda **options: AttentionLocalizer(dict(type='mmvit_plugins.PlainViT', **options))
    del MODELS._module_dict['PlainViT']


def test_any_plain_transformer_will_do(plain):
    localizer, x = plain(), torch.randn(2, 1, 12, 20)
    expected = respond_by_hand(by_hand(localizer.vit, x), 0, 'sum', 'patch')
    assert torch.allclose(localizer(x).flatten(1).double(), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ('fault', 'message'),
    [
        ('pools', r'attn\.qkv of PlainViT gives \(2, 8, 12\), but needed is one row for each of'),
        ('map', r'attn\.qkv of PlainViT gives \(2, 1, 15, 12\)'),
        ('skips', r'PlainViT calls attn\.qkv of 1 layers instead of its 2'),
    ],
)
def test_networks_that_run_otherwise_are_named(plain, fault, message):
    localizer = plain(fault=fault)
    with pytest.raises(ValueError, match=message):
        localizer(torch.randn(2, 1, 12, 20))
    assert not hooks(localizer)


def test_a_bright_object_is_found(plain):
    """From picture to crop: queries that are constant, and keys that are the brightness."""
    localizer = plain(dims=1)
    for parameter in localizer.parameters():
        parameter.zero_()
    localizer.vit.cut.weight.fill_(1 / 16)
    for layer in localizer.vit.layers:
        layer.attn.qkv.bias[0] = 2.0
        layer.attn.qkv.weight[1] = 1.0
    x = torch.zeros(2, 1, 48, 64)
    x[0, :, 8:28, 12:36] = 1
    x[1, :, 32:48, 40:64] = 1
    boxes, statuses = find_boxes(localizer(x), (48, 64), margin=0, min_side=0, square=False)
    assert statuses == ['ok', 'ok']
    truth = torch.tensor([[12.0, 8, 36, 28], [40, 32, 64, 48]])
    assert (boxes - truth).abs().max() <= 2, 'half a patch, which resizing moves edges by'
    assert x.mean() < 0.2 and crop_boxes(x, boxes, (32, 32)).mean() > 0.8


def hooks(localizer):
    return [
        hook
        for module in localizer.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]


def test_the_network_stops_after_the_last_queries():
    localizer, calls = build(), []
    for name, module in localizer.vit.named_modules():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    before = len(hooks(localizer))
    localizer(torch.randn(1, 3, 32, 32))
    assert len(hooks(localizer)) == before
    for name in ('patch_embed', 'layers.0.attn.proj', 'layers.1.ffn', 'layers.2.ln1'):
        assert calls.count(name) == 1
    assert calls[-1] == 'layers.2.attn.qkv' and calls.count('layers.2.attn.qkv') == 1


@pytest.mark.parametrize('where', ['patch_embed', 'layers.1.ffn', 'layers.2.attn.qkv'])
def test_hooks_go_away_after_an_error_too(where):
    localizer, x = build(), torch.randn(1, 3, 32, 32)
    expected = localizer(x)

    def fail(*_):
        raise RuntimeError('stop')

    handle = localizer.vit.get_submodule(where).register_forward_hook(fail)
    with pytest.raises(RuntimeError, match='stop'):
        localizer(x)
    handle.remove()
    assert not hooks(localizer)
    assert torch.equal(localizer(x), expected)


class Squares(TorchDispatchMode):
    """Remembers the memory of all tensors whose last two sides are ``side``."""

    def __init__(self, side):
        super().__init__()
        self.side = side
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.shape[-2:] == (self.side, self.side):
            self.made.append(StorageWeakRef(out.untyped_storage()))
        return out

    def alive(self):
        return len({ref.cdata for ref in self.made if not ref.expired()})


@pytest.mark.parametrize(
    ('method', 'queries', 'most'), [('sum', 'patch', 0), ('rollout', 'cls', 1)]
)
def test_no_graph_and_no_weights_stay(method, queries, most):
    """Between layers, only a rollout has a matrix, the product so far; afterwards nothing has."""
    localizer = build(NO_TOKEN if queries == 'patch' else {}, method=method, queries=queries)
    x = torch.randn(2, 3, 56, 40, requires_grad=True)
    side = 7 * 5 + localizer.vit.num_extra_tokens
    alive, squares = [], Squares(side)
    for layer in localizer.vit.layers:
        layer.ln2.register_forward_hook(lambda *_: alive.append(squares.alive()))
    with squares:
        response = localizer(x)
    assert not response.requires_grad and response.grad_fn is None
    assert len(squares.made) >= 3, 'else nothing was seen'
    assert alive == [most, most] and squares.alive() == 0


def test_the_network_is_frozen():
    """In a model that trains, with weight decay and momentum, and after every switch of mode."""
    model = nn.ModuleDict(
        dict(localizer=build(dict(drop_rate=0.5, drop_path_rate=0.5)), fc=nn.Linear(16, 2))
    )
    localizer, x = model['localizer'], torch.randn(4, 3, 32, 32)
    assert not any(parameter.requires_grad for parameter in localizer.parameters())
    before = copy.deepcopy(localizer.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=0.5)
    for _ in range(2):
        model.train()
        assert not any(module.training for module in localizer.modules())
        assert model['fc'].training
        assert torch.equal(localizer(x), localizer(x))
        optimizer.zero_grad()
        model['fc'](localizer(x).flatten(1)).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(before[k], v) for k, v in localizer.state_dict().items())
    assert localizer.train() is localizer


def test_weights_come_from_a_file(tmp_path):
    """A classifier's, by ``init_cfg`` of the network; saved names are the network's own."""
    source = build()
    assert list(source.state_dict()) == [f'vit.{name}' for name in source.vit.state_dict()]
    file = tmp_path / 'vit.pth'
    state = {f'backbone.{name}': value for name, value in source.vit.state_dict().items()}
    torch.save(dict(state_dict=state), file)
    localizer = build(
        dict(init_cfg=dict(type='Pretrained', checkpoint=str(file), prefix='backbone.'))
    )
    x = torch.randn(1, 3, 40, 40)
    assert not torch.allclose(localizer(x), source(x), atol=1e-3)
    localizer.init_weights()
    assert torch.equal(localizer(x), source(x))
    assert not any(parameter.requires_grad for parameter in localizer.parameters())


class Between(nn.Module):
    """What comes after the localizer, in the same trace."""

    def __init__(self):
        super().__init__()
        self.localizer = build()
        self.fc = nn.Linear(8, 16, bias=False)

    def forward(self, x):
        response = self.localizer(x)
        return self.fc(x[:, 0, :, :8]).sum() + (response @ torch.ones(4, 1000)).sum()


@pytest.mark.filterwarnings('ignore')
def test_traces_know_what_belongs_to_the_localizer():
    """Its end amid a layer does not make later operations its own."""
    model, x = Between(), torch.randn(1, 3, 32, 32)
    counts = FlopAnalyzer(model, (x,)).unsupported_ops_warnings(False).by_module()
    assert counts['fc'] == 32 * 8 * 16
    assert counts[''] == counts['localizer'] + counts['fc'] + 4 * 4 * 1000
    layers = [counts[f'localizer.vit.layers.{i}'] for i in range(3)]
    assert layers[0] == layers[1] and layers[2] < layers[0] / 2
    traced = torch.jit.trace(model.localizer, x, check_trace=False)
    y = torch.randn_like(x)
    assert torch.allclose(traced(y), model.localizer(y), atol=1e-6)


def test_activations_behind_a_relu_are_added():
    maps = [torch.rand(2, 5, 6, 7), torch.rand(3, 4, 5, 6)]
    response = ActivationLocalizer()(maps)
    expected = maps[1].double().numpy().sum(axis=1)
    expected /= expected.mean(axis=(1, 2), keepdims=True)
    assert response.dtype == torch.float32 and not response.requires_grad
    assert np.allclose(response, expected, rtol=1e-5)
    assert ActivationLocalizer(index=0)(maps).shape == (2, 6, 7)
    assert torch.equal(ActivationLocalizer(index=-2)(maps), ActivationLocalizer(index=0)(maps))


def test_of_other_maps_the_norm_is_taken():
    """Each picture by itself: one among others changes nothing for them."""
    x = torch.cat((torch.randn(2, 4, 5, 6), torch.rand(1, 4, 5, 6)))
    response = ActivationLocalizer()((x,))
    norm = np.sqrt((x.double().numpy() ** 2).sum(axis=1))
    norm /= norm.mean(axis=(1, 2), keepdims=True)
    assert np.allclose(response[:2], norm[:2], rtol=1e-5)
    assert not np.allclose(response[2], norm[2], rtol=1e-2)
    for i in range(3):
        assert torch.allclose(response[i], ActivationLocalizer()((x[i : i + 1],))[0])


@pytest.mark.parametrize(
    ('maps', 'expected'),
    [
        (torch.zeros(1, 4, 5, 6), 0.0),
        (torch.full((1, 4, 5, 6), 1e4).half(), 1.0),  # whose sum exceeds float16
        (torch.full((1, 4, 5, 6), -1e4).half(), 1.0),
        (torch.full((1, 4, 5, 6), 3.0, dtype=torch.bfloat16), 1.0),
        (torch.full((1, 4, 5, 6), 1e-30), 1.0),
    ],
)
def test_constant_maps_give_constant_responses(maps, expected):
    response = ActivationLocalizer()((maps,))
    assert torch.allclose(response, torch.full((1, 5, 6), expected), rtol=1e-5)
    assert find_boxes(response, (20, 30))[1] == ['flat']


def test_activations_that_are_no_numbers_are_flat():
    x = torch.rand(2, 3, 8, 8)
    x[1, 1, 2, 2] = float('nan')
    assert find_boxes(ActivationLocalizer()((x,)), (32, 32))[1][1] == 'flat'
    assert ActivationLocalizer()((x,))[0].isfinite().all()


def test_activations_come_from_the_maps_of_a_backbone():
    backbone = MODELS.build(
        dict(
            type='mmpretrain.ResNet',
            depth=18,
            base_channels=4,
            stem_channels=4,
            out_indices=(1, 3),
        )
    )
    localizer = MODELS.build(dict(type='mmvit_plugins.ActivationLocalizer', index=0))
    assert localizer.needs_maps and not list(localizer.parameters())
    maps = backbone(torch.randn(2, 3, 64, 64))
    response = localizer(maps)
    assert response.shape == (2, 8, 8) and not response.requires_grad
    assert response.mean(dim=(1, 2)).tolist() == pytest.approx([1, 1], rel=1e-5)


@pytest.mark.parametrize(
    ('index', 'maps', 'message'),
    [
        (2, [torch.rand(1, 2, 3, 3)] * 2, r'index=2 came, but the backbone gives 2 maps'),
        (-3, [torch.rand(1, 2, 3, 3)] * 2, r'index=-3 came'),
        (-1, [torch.rand(1, 2)], r'is \(1, 2\), but a map \(N, C, h, w\) is needed'),
        (-1, [(torch.rand(1, 2), torch.rand(1, 2))], r'is tuple, but a map'),
        ('last', [], r"index='last' must be the number of a map"),
    ],
)
def test_maps_that_are_not_there_are_named(index, maps, message):
    with pytest.raises(ValueError, match=f'ActivationLocalizer: .*{message}'):
        ActivationLocalizer(index)(maps)
