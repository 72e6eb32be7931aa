"""Swin: parity with the official outputs, rules for sizes, what is kept between pictures."""

import copy

import pytest
import torch
from recipe import Golden, draw_normal

from mmvit_plugins.models import SwinTransformer
from mmvit_plugins.models.backbones.swin import ShiftedWindows, WindowAttention

SMALL = {'embed_dims': 8, 'depths': (2, 2, 2, 2), 'num_heads': (1, 2, 2, 4), 'window_size': 7}
OPTIONS = {
    'swin_tiny': {'arch': 'tiny'},
    'swin_tiny_rect': {'arch': 'tiny'},
    'swin_base_384': {'arch': 'base', 'window_size': 12},
}


def small(**options):
    torch.manual_seed(0)
    return SwinTransformer(**({'arch': SMALL} | options)).eval()


def relative(a, b):
    return float((a - b).detach().norm() / b.detach().norm())


class Official:
    """A classifier with the weights of a golden file."""

    def __init__(self, name, **options):
        self.golden = Golden(name)
        self.model = SwinTransformer(**OPTIONS[name], out_indices=(3,), **options).eval()
        state = dict(self.golden.state)
        self.weight, self.bias = state.pop('head.weight'), state.pop('head.bias')
        self.model.load_state_dict(state)

    def logits(self, x):
        return self.model(x)[0].mean((2, 3)) @ self.weight.T + self.bias


@pytest.mark.slow
@pytest.mark.parametrize('name', OPTIONS)
def test_parity_with_the_official_outputs(name):
    official = Official(name)
    golden, model = official.golden, official.model
    x = golden.input.requires_grad_()
    maps = [model.stem(x)]
    for stage in model.stages:
        maps.append(stage(stage.merge(maps[-1])))
    for i, value in enumerate(maps):
        key = f'stage{i - 1}' if i else 'patch_embed'
        assert golden.error(key, value.permute(0, 3, 1, 2)) <= 1e-5
    (out,) = model(x)
    assert golden.error('norm', out) <= 1e-5
    assert golden.error('pooled', out.mean((2, 3))) <= 1e-5
    logits = official.logits(x)
    assert golden.error('logits', logits) <= 1e-5
    (logits * draw_normal(logits.shape, seed=1)).sum().backward()
    assert golden.error('grad/input', x.grad) <= 1e-5
    with torch.no_grad():  # the second time with what the first one kept
        for _ in range(2):
            assert golden.error('logits', official.logits(golden.input)) <= 1e-5


def test_parity_would_notice_a_mistake():
    official = Official('swin_tiny')

    def error():
        with torch.no_grad():
            return official.golden.error('logits', official.logits(official.golden.input))

    _, odd = official.model.stages[0].windows(official.model.stem(official.golden.input))
    cache = official.model.stages[0].blocks[1].attn.cache  # the only shifted block of the stage
    mask = odd.mask.clone()
    odd.mask.zero_()
    cache.clear()
    assert error() > 1e-3
    odd.mask.copy_(mask)
    cache.clear()
    assert error() <= 1e-5
    official.model.stages[1].merge.norm.weight.data.copy_(
        official.model.stages[1].merge.norm.weight.data.unflatten(0, (2, 2, -1)).mT.flatten()
    )
    assert error() > 1e-3


def test_training_and_inference_compute_the_same():
    """On a CPU a bias that learns takes plain products, else attention is fused, as on a GPU."""
    model = small().double()
    x = torch.randn(2, 3, 120, 97, dtype=torch.float64)
    with torch.no_grad():
        fused = model(x)
    for a, b in zip(model(x), fused, strict=True):
        assert relative(a, b) < 1e-12


@pytest.mark.parametrize(
    ('arch', 'window', 'parameters'),
    [
        ('tiny', None, 28288354),
        ('small', None, 49606258),
        ('base', None, 87768224),
        ('base', 12, 87903584),
        ('large', None, 196532476),
        ('large', 12, 196735516),
    ],
)
def test_size_of_the_variants(arch, window, parameters):
    """The published counts contain the classifier."""
    with torch.device('meta'):
        model = SwinTransformer(arch, window_size=window, out_indices=(3,))
    classifier = 1000 * (model.out_channels[-1] + 1)
    assert sum(p.numel() for p in model.parameters()) + classifier == parameters


def test_c24_has_windows_of_8():
    assert SwinTransformer('tiny_c24').stages[0].window == 8


@pytest.mark.parametrize('sides', [(14, 21), (15, 9), (7, 7), (30, 3), (1, 1)])
@pytest.mark.parametrize('shift', [0, 3])
def test_windows_hold_the_rolled_map_and_mask_what_the_roll_joins(sides, shift):
    windows = ShiftedWindows(sides, 7, shift, torch.device('cpu'))
    assert windows.filled is any(side % 7 for side in sides)
    x = torch.randn(2, *sides, 4)
    fill = torch.arange(4.0)
    cut = windows.partition(x, fill)
    assert torch.equal(windows.reverse(cut), x)
    rows, columns = (-(-side // 7) * 7 for side in sides)
    full = fill.repeat(2, rows, columns, 1)
    full[:, : sides[0], : sides[1]] = x
    for window in range(rows * columns // 49):
        top, left = 7 * (window // (columns // 7)), 7 * (window % (columns // 7))
        places = [(top + i + shift, left + j + shift) for i in range(7) for j in range(7)]
        expected = torch.stack([full[:, r % rows, c % columns] for r, c in places], dim=1)
        assert torch.equal(cut[:, window], expected)
        if shift:  # neighbours are those that the roll did not bring round
            came = [(r >= rows, c >= columns) for r, c in places]
            apart = torch.tensor([[a != b for b in came] for a in came])
            assert torch.equal(windows.mask[window], torch.where(apart, -100.0, 0.0))
    assert shift or windows.mask is None


def test_small_map_follows_what_is_asked_for():
    assert small(out_indices=(3,)).stages[0].small_map == 'shrink'
    assert small(out_indices=(0, 3)).stages[0].small_map == 'pad'
    assert small(out_indices=(3,), small_map='pad').stages[0].small_map == 'pad'


def test_small_maps_shrink_the_window_or_fill_it():
    """The window of a 5 x 12 map is 5 x 5 officially: its table is the middle of the whole one."""
    x = torch.randn(1, 5, 12, 8)
    for small_map, side, shifts in (('shrink', 5, (0, 0)), ('pad', 7, (0, 3))):
        stage = small(small_map=small_map).stages[0]
        windows = stage.windows(x)
        assert [w.window for w in windows] == [side, side]
        assert tuple(w.shift for w in windows) == shifts
    attn = WindowAttention(8, 2, 7, 0.0, 0.0)
    whole = attn.bias(ShiftedWindows((7, 7), 7, 0, torch.device('cpu')))
    part = attn.bias(ShiftedWindows((5, 5), 5, 0, torch.device('cpu')))
    inside = [7 * i + j for i in range(5) for j in range(5)]
    assert torch.equal(part, whole[:, inside][:, :, inside])


def test_rules_differ_only_where_a_map_is_small():
    x = torch.randn(1, 3, 448, 256)  # the last map is 14 x 8, larger than a window
    models = [small(small_map=rule) for rule in ('shrink', 'pad')]
    for a, b in zip(*(model(x) for model in models), strict=True):
        assert torch.equal(a, b)
    last = [model(x[:, :, :224, :224])[-1] for model in models]
    assert relative(*last) > 1e-3


@pytest.mark.parametrize('small_map', ['shrink', 'pad'])
def test_every_size_from_one_pixel(small_map):
    model = small(small_map=small_map)
    with torch.no_grad():
        for side in range(1, 65):
            outs = model(torch.randn(1, 3, side, 65 - side))
            for out, stride in zip(outs, model.strides, strict=True):
                assert out.shape[2:] == (-(-side // stride), -(-(65 - side) // stride))
                assert torch.isfinite(out).all()


def test_filled_places_count_as_zeros_after_the_norm():
    """The rule of all the hosts, written out for one window that is partly filled."""
    attn = WindowAttention(8, 2, 7, 0.0, 0.0).eval()
    x = torch.randn(1, 4, 6, 8)
    windows = ShiftedWindows((4, 6), 7, 0, torch.device('cpu'))
    full = torch.zeros(1, 7, 7, 8)
    full[:, :4, :6] = x
    tokens = full.flatten(1, 2)
    q, k, v = attn.qkv(tokens).view(49, 3, 2, 4).permute(1, 2, 0, 3)
    weights = (q @ k.mT / 2 + attn.bias(windows)).softmax(-1)
    expected = attn.proj((weights @ v).transpose(0, 1).flatten(1)).view(7, 7, 8)[:4, :6]
    out = attn(x, windows)[0]
    assert torch.allclose(out, expected, atol=1e-6)


def test_what_is_kept_follows_the_weights_and_the_size():
    model = small()
    x, y = torch.randn(1, 3, 96, 64), torch.randn(2, 3, 65, 130)
    with torch.no_grad():
        first = model(x)[-1]
        assert torch.equal(model(x)[-1], first)
        other = model(y)[-1]
        assert torch.equal(model(x)[-1], first) and torch.equal(model(y)[-1], other)
        state = {k: v + 0.5 * torch.randn_like(v) for k, v in model.state_dict().items()}
        model.load_state_dict(state)
        fresh = small()
        fresh.load_state_dict(state)
        assert torch.equal(model(x)[-1], fresh(x)[-1])
        for p in model.parameters():  # as hooks that average weights do, which torch cannot see
            p.data.copy_(torch.randn_like(p))
        copied = copy.deepcopy(model).eval()
        model.eval()
        assert torch.equal(model(x)[-1], copied(x)[-1])
        assert not torch.equal(model(x)[-1], first)
        assert model.double()(x.double())[-1].dtype == torch.float64


def test_only_small_biases_are_kept():
    """Or a large model would hold hundreds of megabytes after a large picture."""
    model = small()
    attn = model.stages[0].blocks[1].attn
    x, y = torch.randn(1, 3, 96, 64), torch.randn(1, 3, 224, 224)
    attn.cache.limit = 12 * 49**2
    with torch.no_grad():
        model(x)
        assert attn.cache.value.shape == (12, 1, 49, 49)
        model(y)
        assert attn.cache.value is None


def test_trains_after_inference_mode():
    model = small()
    x = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        model(x)
    model.train()(x)[-1].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_tables_of_another_window_are_resized(caplog):
    source = SwinTransformer(SMALL | {'window_size': 5})
    model = small()
    model.load_state_dict(source.state_dict())
    table = model.stages[0].blocks[0].attn.relative_position_bias_table
    original = source.stages[0].blocks[0].attn.relative_position_bias_table
    assert table.shape == (169, 1) and original.shape == (81, 1)
    assert torch.allclose(table[84], original[40], atol=1e-6), 'the middle stays'


def test_dropouts_act_in_training_only():
    x = torch.randn(1, 3, 64, 64)
    expected = small()(x)[-1]
    for name in ('drop_rate', 'attn_drop_rate'):
        model = small(**{name: 0.5})
        assert torch.equal(model(x)[-1], expected)
        assert not torch.allclose(model.train()(x)[-1], expected)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': 'huge'}, "arch='huge' is unknown"),
        ({'arch': SMALL | {'depths': (2, 2, 2)}}, '4 positive integers'),
        ({'arch': SMALL | {'num_heads': (3, 2, 2, 4)}}, 'multiples of num_heads'),
        ({'window_size': 0}, 'window_size=0 must be a positive integer'),
        ({'small_map': 'mmseg'}, "small_map='mmseg' must be one of"),
        ({'out_indices': (4,)}, 'out_indices'),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message.replace('(', r'\(')):
        small(**options)


def test_what_is_kept_for_inference_follows_the_weights():
    model, x = small(), torch.randn(1, 3, 70, 90)
    tables = [p for name, p in model.named_parameters() if name.endswith('_bias_table')]
    with torch.no_grad():
        before = model(x)[-1]
        for table in tables:
            table.add_(torch.randn_like(table))
        after = model(x)[-1]
        again = model.train().eval()(x)[-1]  # which forgets
    assert torch.equal(after, again) and not torch.allclose(after, before)
