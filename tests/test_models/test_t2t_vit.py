"""T2T-ViT: parity with the official outputs, normed patches by convolution, options."""

import pytest
import torch
import torch.nn.functional as F
from recipe import Golden, draw_normal
from torch import nn

from mmvit_plugins.models import T2TViT
from mmvit_plugins.models.backbones import t2t_vit
from mmvit_plugins.models.backbones.t2t_vit import linear_of_normed_patches, performer

SMALL = {
    'tokens_type': 'performer',
    'block': 'vit',
    'embed_dims': 16,
    'depths': (2,),
    'num_heads': 2,
    'mlp_ratio': 2,
}
KINDS = [
    {},
    {'block': 'se', 'embed_dims': 64},
    {'block': 'ghost', 'mlp_ratio': 3},
    {'block': 'dense', 'depths': (2, 1)},
    {'tokens_type': 'transformer'},
    {'tokens_type': 'convolution'},
]
AT_384 = SMALL | {'embed_dims': 96, 'num_heads': 3}
GOLDEN = {
    't2t_vit_7': '7',
    't2t_vit_7_strong': '7',
    't2t_vit_t_14': 't_14',
    't2t_vit_14_se': '14_se',
    't2t_vit_14_resnext': '14_resnext',
    't2t_vit_14_wide': '14_wide',
    't2t_vit_16_ghost': '16_ghost',
    't2t_vit_dense': 'dense',
    't2t_224_at_384': AT_384,
}


def small(kind=None, **options):
    torch.manual_seed(0)
    return T2TViT(arch=SMALL | (kind or {}), **options).eval()


def relative(a, b):
    return float((a - b).detach().norm() / b.detach().norm())


class Official:
    """A classifier with the weights of a golden file."""

    def __init__(self, name):
        self.golden = Golden(name)
        self.model = T2TViT(arch=GOLDEN[name], out_type='raw').eval()
        state = dict(self.golden.state)
        self.table = self.model.stages[2].pos_embed.clone()
        if 'pos_embed' in self.golden.meta['computed']:  # not stored: ours, compared below
            state['pos_embed'] = self.table
        self.weight, self.bias = state.pop('head.weight'), state.pop('head.bias')
        self.model.load_state_dict(state)

    def logits(self, x):
        return self.model(x)[0][:, 0] @ self.weight.T + self.bias


@pytest.mark.slow
@pytest.mark.parametrize('name', GOLDEN)
def test_parity_with_the_official_outputs(name):
    official = Official(name)
    golden, model = official.golden, official.model
    x = golden.input.requires_grad_()
    tokens = model.stages[2].embed(model.stages[1](model.stages[0](x)))
    assert golden.error('tokens', tokens.flatten(2).transpose(1, 2)) <= 1e-5
    (out,) = model(x)
    assert golden.error('norm', out) <= 1e-5
    logits = official.logits(x)
    assert golden.error('logits', logits) <= 1e-5
    (logits * draw_normal(logits.shape, seed=1)).sum().backward()
    assert golden.error('grad/input', x.grad) <= 1e-5
    if 'pos_embed' in golden.expected:
        assert golden.error('pos_embed', official.table) <= 1e-7
    if 'pos_embed_384' in golden.expected:
        assert golden.error('pos_embed_384', model.stages[2].positions(24, 24)) <= 1e-6


@pytest.mark.parametrize(
    'mistake',
    [
        lambda q, k, v, w: torch.zeros_like(v),
        lambda q, k, v, w: performer(k, q, v, w),
        lambda q, k, v, w: performer(q, k, v, w.flip(1)),
    ],
    ids=['no attention', 'keys for queries', 'other features'],
)
def test_parity_would_notice_a_mistake_in_the_performer(mistake, monkeypatch):
    official = Official('t2t_vit_7_strong')
    monkeypatch.setattr(t2t_vit, 'performer', mistake)
    with torch.no_grad():
        assert official.golden.error('logits', official.logits(official.golden.input)) > 1e-3


@pytest.mark.parametrize(
    ('arch', 'parameters'),
    [
        ('7', 4310222),
        ('10', 5889230),
        ('12', 6941902),
        ('14', 21545550),
        ('19', 39177422),
        ('24', 64105934),
        ('t_14', 21541070),
        ('t_19', 39172942),
        ('t_24', 64101454),
        ('14_resnext', 21545550),
        ('14_wide', 25156302),
        ('14_se', 21803598),
        ('16_ghost', 16253262),
        ('dense', 23647062),
    ],
)
def test_size_of_the_variants(arch, parameters):
    """The official counts contain the classifier, and the frozen tables and features."""
    with torch.device('meta'):
        model = T2TViT(arch)
    classifier = 1000 * (model.out_channels[-1] + 1)
    assert sum(t.numel() for t in model.state_dict().values()) + classifier == parameters


@pytest.mark.parametrize('split', [(7, 4, 2), (3, 2, 1)])
@pytest.mark.parametrize('bias', [True, False])
def test_linear_of_normed_patches_is_what_it_says(split, bias):
    x = torch.randn(2, 5, 21, 30, dtype=torch.float64, requires_grad=True)
    width = 5 * split[0] ** 2
    norm, linear = nn.LayerNorm(width).double(), nn.Linear(width, 6, bias=bias).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    grads = []
    for by_convolution in (True, False):
        if by_convolution:
            out = linear_of_normed_patches(x, split, norm, linear).flatten(2).transpose(1, 2)
            first = out
        else:
            kernel, stride, padding = split
            out = linear(norm(F.unfold(x, kernel, 1, padding, stride).transpose(1, 2)))
            assert torch.allclose(first, out, atol=1e-12)
        out.square().sum().backward()
        grads.append([p.grad.clone() for p in (x, *norm.parameters(), *linear.parameters())])
        for p in (x, *norm.parameters(), *linear.parameters()):
            p.grad = None
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_flat_pictures_lose_no_digits():
    """Where a patch is nearly constant, mean square minus squared mean cancels."""
    torch.manual_seed(0)
    norm, linear = nn.LayerNorm(147), nn.Linear(147, 8)
    x = 2.5 + 1e-3 * torch.randn(1, 3, 64, 64)
    exact = linear_of_normed_patches(x.double(), (7, 4, 2), norm.double(), linear.double())
    norm, linear = norm.float(), linear.float()
    ours = linear_of_normed_patches(x, (7, 4, 2), norm, linear).double()
    direct = linear(norm(F.unfold(x, 7, 1, 2, 4).transpose(1, 2))).double()
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # borders hold zeros
    direct = direct.transpose(1, 2).view_as(ours)
    assert relative(ours[inside], exact[inside]) < 4 * relative(direct[inside], exact[inside])
    black = linear_of_normed_patches(torch.zeros(1, 3, 64, 64), (7, 4, 2), norm, linear)
    assert torch.allclose(black, linear(norm.bias).view(8, 1, 1).expand_as(black), atol=1e-6)


def test_performer_is_its_formula():
    q, k, v = (torch.randn(2, 5, 4, dtype=torch.float64) for _ in range(3))
    w = torch.randn(3, 4, dtype=torch.float64)

    def phi(z):
        return torch.exp(w @ z - z.dot(z) / 2) / 3**0.5

    out = performer(q, k, v, w)
    for n in range(2):
        for t in range(5):
            share = torch.stack([phi(q[n, t]).dot(phi(k[n, s])) for s in range(5)])
            expected = (share[:, None] * v[n]).sum(0) / (share.sum() + 1e-8)
            assert torch.allclose(out[n, t], expected, atol=1e-12)


def test_features_are_orthogonal_and_differ_between_models():
    first, second = (T2TViT(SMALL).stages[0].features for _ in range(2))
    assert torch.allclose(first @ first.T, 32 * torch.eye(32), atol=1e-4)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize('tokens_type', ['performer', 'transformer'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_large_inputs_stay_finite_in_half_precision(tokens_type, dtype):
    model = small(tokens_type=tokens_type)
    x = 1e4 * torch.randn(1, 3, 64, 64)
    with torch.autocast('cpu', dtype=dtype):
        outs = model(x)
        assert all(torch.isfinite(out).all() for out in outs)
        sum(out.float().square().mean() for out in model.train()(x)).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert model.eval().to(dtype)(x.to(dtype).clamp(-6e4, 6e4))[2].isfinite().all()


def test_performers_are_exact_under_autocast():
    """A kernel in half precision would be off by percents: its exponents reach 16."""
    layer = small().stages[0]
    x = torch.randn(1, 3, 64, 64)
    seen = []
    layer.norm2.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    layer.proj = nn.Identity()
    layer(x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        layer(x)
    assert seen[1].dtype == torch.float32 and torch.equal(*seen)


def test_out_types():
    x = torch.randn(2, 3, 96, 64)
    (raw,) = small(out_type='raw')(x)
    assert raw.shape == (2, 1 + 6 * 4, 16)
    (cls_token,), (mean,) = small(out_type='cls_token')(x), small(out_type='avg_featmap')(x)
    assert torch.equal(cls_token, raw[:, 0]) and torch.equal(mean, raw[:, 1:].mean(1))
    maps = small()(x)
    assert torch.equal(maps[2].flatten(2).mT, raw[:, 1:])
    assert [m.shape[1:] for m in maps] == [(64, 24, 16), (64, 12, 8), (16, 6, 4)]
    assert small(out_type='cls_token').out_channels == (16,)


@pytest.mark.parametrize('kind', KINDS, ids=str)
def test_every_kind_trains_at_an_odd_size(kind):
    model = small(kind).train()
    sum(out.square().mean() for out in model(torch.randn(2, 3, 65, 97))).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


@pytest.mark.parametrize('kind', KINDS, ids=str)
def test_every_kind_keeps_the_contract_of_layers(kind):
    model = small(kind)
    layers = {model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert layers == set(range(model.get_layer_depth('', 'x')[1] - 1))


def test_sizes_of_the_official_grid():
    """Without maps nothing is filled up: a side of 16 n + 1 or 16 n + 2 makes n tokens."""
    for extra in (0, 1, 2):
        (raw,) = small(out_type='raw')(torch.randn(1, 3, 64 + extra, 80 + extra))
        assert raw.shape[1] == 1 + 4 * 5
    (raw,) = small(out_type='raw')(torch.randn(1, 3, 67, 64))
    assert raw.shape[1] == 1 + 5 * 4


def test_every_size_from_one_pixel():
    model, vector = small(), small(out_type='cls_token')
    with torch.no_grad():
        for side in range(1, 65):
            for out in model(torch.randn(1, 3, side, 65 - side)):
                assert torch.isfinite(out).all()
            if side > 2:
                assert torch.isfinite(vector(torch.randn(1, 3, side, 3))[0]).all()
    with pytest.raises(ValueError, match='H and W >= 3'):
        vector(torch.randn(1, 3, 2, 3))


def test_positions_are_resized_and_kept():
    stage = small(img_size=64).stages[2]
    table = stage.pos_embed
    assert table.shape == (1, 17, 16)
    kept = stage.positions(4, 6)
    assert stage.positions(4, 6) is kept
    assert torch.equal(kept[:, :1], table[:, :1])
    grid = table[:, 1:].view(1, 4, 4, 16).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (4, 6), mode='bicubic', align_corners=False)
    assert torch.equal(kept[:, 1:], expected.flatten(2).mT)
    with torch.no_grad():
        table.add_(1)
    assert torch.allclose(stage.positions(4, 6), kept + 1, atol=1e-5)


def test_a_table_of_another_size_is_resized_on_load():
    source, model = small(img_size=96), small(img_size=64)
    model.load_state_dict(source.state_dict())
    assert torch.allclose(model.stages[2].pos_embed, source.stages[2].positions(4, 4))


def test_weights_fit_another_number_of_channels():
    """The same numbers where the new channels repeat the old ones: the norm sees no difference."""
    source, model = small(), small(in_channels=6)
    model.load_state_dict(source.state_dict())
    x = torch.randn(1, 3, 64, 64)
    for a, b in zip(model(x.repeat(1, 2, 1, 1)), source(x), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_scales_and_dropouts_are_arguments():
    x = torch.randn(1, 3, 64, 64)
    expected = small()(x)[-1]
    assert torch.allclose(small(qk_scale=8**-0.5)(x)[-1], expected, atol=1e-6)
    assert not torch.allclose(small(qk_scale=1.0)(x)[-1], expected, atol=1e-6)
    by_softmax = {'tokens_type': 'transformer'}
    first, second, other = (
        small(by_softmax, token_qk_scale=scale).stages[0](x) for scale in (None, 147**-0.5, 1.0)
    )
    assert torch.equal(first, second) and not torch.allclose(first, other, atol=1e-6)
    assert torch.equal(small(performer_drop_rate=0.0).train()(x)[-1], expected)
    for kind, rate in (({}, 0.1), (by_softmax, 0)):  # the official rate, in performers only
        drops = [m.p for m in small(kind).stages[:2].modules() if isinstance(m, nn.Dropout)]
        assert sorted(drops) == [0, 0, rate, rate]
    for name in ('drop_rate', 'attn_drop_rate'):
        model = small(**{name: 0.5}, performer_drop_rate=0.0)
        assert torch.equal(model(x)[-1], expected)
        assert not torch.allclose(model.train()(x)[-1], expected)


def test_a_number_names_its_variant():
    """As ``--cfg-options model.backbone.arch=7`` gives it."""
    with torch.device('meta'):
        assert len(T2TViT(7).stages[2].blocks) == 7
    with pytest.raises(ValueError, match="arch='15' is unknown"):
        T2TViT(15)


def test_dense_groups_grow_and_are_halved():
    model = small({'block': 'dense', 'depths': (2, 1)})
    widths = [block.norm1.normalized_shape[0] if hasattr(block, 'norm1') else None
              for block in model.stages[2].blocks]  # fmt: skip
    assert widths == [16, 80, None, 72] and model.out_channels[-1] == 136
    assert T2TViT('dense').out_channels[-1] == 584


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': '15'}, "arch='15' is unknown"),
        ({'arch': '7', 'out_type': 'patches'}, "out_type='patches' must be one of"),
        ({'arch': '7', 'out_type': 'raw', 'out_indices': (0, 2)}, 'of the last stage only'),
        ({'arch': '7', 'tokens_type': 'linear'}, "tokens_type='linear' must be one of"),
        ({'arch': '7', 'img_size': 8}, 'img_size=8'),
        ({'arch': SMALL | {'block': 'res'}}, "block='res' must be one of"),
        ({'arch': SMALL | {'depths': (2, 2)}}, 'one positive number'),
        ({'arch': SMALL | {'num_heads': 3}}, 'multiple of num_heads=3'),
        ({'arch': SMALL | {'block': 'ghost', 'mlp_ratio': 1}}, "block='ghost' needs"),
        ({'arch': SMALL | {'block': 'se', 'embed_dims': 8}}, "block='se' needs"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        T2TViT(**options)
