"""SG-Former: parity with the official outputs, any input size, and what guides its attention."""

import copy

import pytest
import torch
from recipe import Golden, draw_normal

from mmvit_plugins.analysis import count_flops
from mmvit_plugins.models import SGFormer
from mmvit_plugins.models.backbones import sgformer
from mmvit_plugins.models.backbones.sgformer import (
    ARCHS,
    REGIONS,
    HybridScaleAttention,
    SelfGuidedAttention,
    Windows,
    attend,
    attention_and_means,
    groups_at_224,
    merge_groups,
    region_sizes,
    stretch,
    token_order,
)

TINY = {
    'embed_dims': (8, 16, 16, 24),
    'num_heads': (2, 2, 4, 3),
    'depths': (2, 2, 4, 1),
    'mlp_ratio': 2,
}
VARIANTS = {'sgformer_s': 'small', 'sgformer_m': 'medium', 'sgformer_b': 'base'}
REFERENCE = {'coarse': 'global', 'kv_cap': None, 'last_kv_cap': None, 'rescale_importance': False}
SIZES = [(1, 1), (8, 40), (32, 32), (33, 65), (97, 131), (224, 260), (333, 517)]


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    model = SGFormer(TINY, **options)
    # as far from their start as training takes them: all tokens alike would hide mistakes
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    return model


class Run:
    """What a model with the official weights computes in float64."""

    def __init__(self, name, change=lambda model: None, dtype=torch.float64, **options):
        self.golden = Golden(name)
        self.model = SGFormer(VARIANTS.get(name, 'small'), **options).eval()
        state = dict(self.golden.state)
        weight, bias = (state.pop(f'head.{leaf}').to(dtype) for leaf in ('weight', 'bias'))
        self.model.load_state_dict(state)
        change(self.model.to(dtype))
        self.input = self.golden.input.to(dtype).requires_grad_()
        self.outs = self.model(self.input)
        self.pooled = self.outs[3].mean((2, 3))
        self.logits = self.pooled @ weight.T + bias

    def errors(self):
        values = {f'stage{i}': x.flatten(2).transpose(1, 2) for i, x in enumerate(self.outs)}
        values |= {'pooled': self.pooled, 'logits': self.logits}
        return {name: self.golden.error(name, value) for name, value in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize('name', [*VARIANTS, 'sgformer_s_448x224'])
def test_parity_with_the_official_outputs(name):
    """The last file is the official network at another size, where its own rules still divide."""
    run = Run(name, **({} if name in VARIANTS else REFERENCE))
    assert max(run.errors().values()) <= 1e-5
    guidance = run.model.guidance(run.input)
    compared = 0
    for key in run.golden.expected:
        kind, _, place = key.partition('/')
        if kind == 'importance' and place.endswith('.1') or kind == 'order':
            stage, block = map(int, place.split('/')[0].split('.')[:2])
            importance = guidance[stage].importance[:, block // 2]
            if kind == 'order':
                value = token_order(importance)[int(place.split('/')[1])]
                assert run.golden.error(key, value) == 0, key
            else:
                assert run.golden.error(key, importance) <= 1e-5, key
            compared += 1
    pairs = sum(run.model.depths[:3]) // 2
    assert compared == pairs * (1 + len(run.input))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['sgformer_s'])
def test_parity_of_the_input_gradient(name):
    run = Run(name)
    (run.logits * draw_normal(run.logits.shape, seed=1)).sum().backward()
    assert run.golden.error('grad/input', run.input.grad) <= 1e-4


@pytest.mark.slow
def test_parity_in_float32_with_the_order_forced(monkeypatch):
    """Base's order is the one that float32 is known to get wrong; everything else must agree."""
    orders = []
    monkeypatch.setattr(
        sgformer, 'token_order', lambda m: orders.append(token_order(m)) or orders[-1]
    )
    Run('sgformer_b')
    given = iter(orders)
    monkeypatch.setattr(sgformer, 'token_order', lambda m: next(given))
    assert max(Run('sgformer_b', dtype=torch.float32).errors().values()) <= 2e-5
    assert next(given, None) is None


def _tanh(model):
    model.stages[2].blocks[3].mlp.act = torch.nn.GELU(approximate='tanh')


def _sr_eps(model):
    model.stages[0].blocks[0].attn.sr_norm.eps = 1e-6


@pytest.mark.slow
@pytest.mark.parametrize('mistake', [_tanh, _sr_eps])
def test_parity_would_notice_a_mistake(mistake):
    """The stored elements are a sample, and an epsilon is little."""
    assert max(Run('sgformer_s', mistake).errors().values()) > 1e-5


def test_position_table_begins_as_the_official_one():
    table = SGFormer('small').stem.pos_embed
    assert Golden('sgformer_s').error('init/pos_embed', table) <= 1e-6


@pytest.mark.parametrize(
    ('arch', 'parameters'), [('small', 22545981), ('medium', 38689316), ('base', 77950293)]
)
def test_size_of_the_variants(arch, parameters):
    """The published counts contain the classifier."""
    with torch.device('meta'):
        model = SGFormer(arch)
    classifier = 1000 * (model.out_channels[-1] + 1)
    assert sum(p.numel() for p in model.parameters()) + classifier == parameters
    assert model.strides == (4, 8, 16, 32) and model.out_channels == ARCHS[arch]['embed_dims']


@pytest.mark.parametrize('size', SIZES)
def test_importance_averages_the_same_at_any_size(size):
    for guide in tiny().eval().guidance(torch.randn(2, 3, *size)):
        assert guide.importance.dtype == torch.float32
        # cells cut by an edge count with fewer tokens, hence not exactly 2
        assert guide.importance.mean((2, 3)).mul(49).sub(2).abs().max() < 0.3


@pytest.mark.parametrize('size', SIZES)
def test_what_fills_up_windows_is_never_seen(size, monkeypatch):
    """Fill with huge values instead of zeros: no output and no importance may change."""
    model = tiny().double().eval()
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    expected = model(x), model.guidance(x)
    pad, filled = torch.nn.functional.pad, []

    def fill(t, amounts, mode='constant'):
        if mode == 'constant' and t.shape[-1] > 1:  # a single channel tells what is inside
            filled.append(amounts)
            return pad(t, amounts, mode, 1e4)
        return pad(t, amounts, mode)

    monkeypatch.setattr(sgformer.F, 'pad', fill)
    for a, b in zip((model(x), model.guidance(x)), expected, strict=True):
        for left, right in zip(a, b, strict=True):
            left, right = getattr(left, 'importance', left), getattr(right, 'importance', right)
            assert torch.equal(left, right)
    assert bool(filled) is (size != (32, 32))


@pytest.mark.parametrize('size', [(224, 224), (225, 224), (224, 257), (65, 97)])
def test_one_more_row_leaves_no_dead_gradient(size):
    model = tiny().train()
    x = torch.randn(2, 3, *size, requires_grad=True)
    sum(out.square().mean() for out in model(x)).backward()
    assert torch.isfinite(x.grad).all() and (x.grad.abs().sum((0, 1)) > 0).all()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name


def test_pictures_of_a_batch_do_not_see_each_other():
    model = tiny().double().eval()
    x = torch.randn(3, 3, 97, 131, dtype=torch.float64)
    for together, alone in zip(model(x), model(x[1:2]), strict=True):
        assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_large_picture():
    model = tiny().eval()
    with torch.no_grad():
        outs = model(torch.randn(1, 3, 1024, 2048))
    assert [tuple(out.shape[2:]) for out in outs] == [(256, 512), (128, 256), (64, 128), (32, 64)]
    assert all(torch.isfinite(out).all() for out in outs)


@pytest.mark.slow
def test_cost_is_linear_in_pixels_unless_asked_otherwise():
    def growth(**options):
        costs = [count_flops(tiny(**options).eval(), (3, n, n))['flops'] for n in (512, 1024)]
        return costs[1] / costs[0]

    assert growth(last_kv_cap=64) < 4.1
    assert growth(**REFERENCE) > 5


def test_settings_do_nothing_at_224():
    x = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    outs = [tiny(**options).double().eval()(x) for options in ({}, REFERENCE)]
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(*outs, strict=True))
    x = torch.randn(1, 3, 448, 448, dtype=torch.float64)
    outs = [tiny(**options).double().eval()(x) for options in ({}, REFERENCE)]
    assert not torch.allclose(outs[0][0], outs[1][0])


def test_no_attention_matrix_outlives_its_block(monkeypatch):
    """In training no tensor has more elements than the widest map, whatever the attention."""
    monkeypatch.setattr(sgformer, 'BLOCK', 2**16)
    largest = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten._softmax.default:
                largest.append(out.numel())
            return out

    model = tiny(**REFERENCE).train()
    with Record():
        sum(out.mean() for out in model(torch.randn(1, 3, 256, 256))).backward()
    assert largest and max(largest) <= 2**16


def naive_attention(q, k, heads):
    q, k = (t.flatten(1, 2).unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k))
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)


def test_attend_in_one_window_is_plain_attention():
    q, k, v = (
        torch.randn(2, *sides, 8, dtype=torch.float64) for sides in [(12, 9), (4, 3), (4, 3)]
    )
    windows = Windows(q, 3, 7)
    assert windows.count == [1, 1] and windows.mask is None and windows.query_share is None
    out, received = attend(q, k, v, windows, 2, rescale=False)
    weights = naive_attention(q, k, 2)
    values = v.flatten(1, 2).unflatten(-1, (2, -1)).transpose(1, 2)
    expected = (weights @ values).transpose(1, 2).flatten(2).view_as(q)
    assert torch.allclose(out, expected)
    assert torch.allclose(received.flatten(1), weights.mean((1, 2)))


def test_cells_over_an_edge_are_filled_with_its_tokens():
    attn = HybridScaleAttention(8, 2, 4, True)
    x = torch.randn(1, 10, 7, 8)
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (0, 1, 0, 2), mode='replicate')
    keys, expected = attn.coarse_keys(x), attn.coarse_keys(padded.permute(0, 2, 3, 1))
    assert keys[0].shape == (1, 3, 2, 4)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(keys, expected, strict=True))


def test_attend_in_windows_equals_each_window_alone():
    """10 x 9 tokens make 2 x 2 windows of 5 x 5 keys, the right ones a column short."""
    q, k, v = (torch.randn(1, 10, 9, 8, dtype=torch.float64) for _ in range(3))
    out, received = attend(q, k, v, Windows(q, 1, 7), 2, rescale=True)
    for rows in (slice(0, 5), slice(5, 10)):
        for columns in (slice(0, 5), slice(5, 9)):
            part = [t[:, rows, columns] for t in (q, k, v)]
            alone = attend(*part, Windows(part[0], 1, 7), 2, rescale=True)
            assert torch.allclose(out[:, rows, columns], alone[0])
            assert torch.allclose(received[:, rows, columns], alone[1])


@pytest.mark.parametrize('grad', [True, False])
@pytest.mark.parametrize('masked', [True, False])
def test_attention_and_its_means_in_blocks(masked, grad, monkeypatch):
    q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (50, 20, 20))
    mask = torch.rand(2, 1, 1, 20) > 0.3 if masked else None
    share = torch.rand(2, 1, 1, 50, dtype=torch.float64).softmax(-1) if masked else None
    weights = q @ k.transpose(-2, -1) * 8**-0.5
    if masked:
        weights = weights.masked_fill(~mask, -torch.inf)
    weights = weights.softmax(-1)
    means = (weights * share.transpose(-2, -1)).sum(2).mean(1) if masked else weights.mean((1, 2))
    for block in (2**24, 7 * 2 * 3 * 20):
        monkeypatch.setattr(sgformer, 'BLOCK', block)
        with torch.set_grad_enabled(grad):
            mixed, received = attention_and_means(q, k, v, mask, share)
        assert torch.allclose(mixed, weights @ v) and torch.allclose(received, means)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_importance_survives_large_activations_in_half_precision(dtype):
    q, k, v = (200 * torch.randn(1, 2, 49, 32).to(dtype) for _ in range(3))
    for grad in (True, False):
        with torch.autocast('cpu', dtype=dtype), torch.set_grad_enabled(grad):
            mixed, received = attention_and_means(q, k, v)
        assert mixed.dtype == dtype and received.dtype == torch.float32
        assert torch.isfinite(mixed).all() and torch.isfinite(received).all()
    model = tiny().eval()
    with torch.autocast('cpu', dtype=dtype):
        outs = model(1e4 * torch.randn(1, 3, 65, 97))
    assert all(torch.isfinite(out).all() for out in outs)


def test_ties_are_broken_by_place():
    assert token_order(torch.ones(2, 3, 4)).tolist() == [list(range(12))] * 2
    model = tiny().eval()
    x = torch.zeros(1, 3, 97, 131)
    first, again = model(x), copy.deepcopy(model)(x)
    assert all(torch.isfinite(out).all() for out in first)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize('length', [1, 3, 48, 49, 50, 98, 200])
def test_stretched_weights_keep_their_sum(length):
    weights = torch.randn(49, dtype=torch.float64)
    spread = stretch(weights, length, length + 1)
    assert spread[-1] == 0 and torch.allclose(spread.sum(), weights.sum())
    if length in (49, 98):
        repeated = weights.repeat_interleave(length // 49) / (length // 49)
        assert torch.allclose(spread[:-1], repeated)
    if length == 1:
        assert torch.allclose(spread[0], weights.sum())


@pytest.mark.parametrize('length', [5, 12, 13, 27, 40])
def test_each_token_is_merged_once(length):
    """With r equal weights a merged token is r times the mean of its group."""
    layer = torch.nn.Linear(4, 1).double()
    torch.nn.init.constant_(layer.weight, 0.25)
    groups = max(length // 4, 1)
    tokens = torch.randn(2, 50, 3, dtype=torch.float64)
    order = torch.stack([torch.randperm(50)[:length] for _ in range(2)])
    merged = merge_groups(tokens, order, layer, groups)
    for image in range(2):
        parts = tokens[image, order[image]].tensor_split(groups)
        expected = torch.stack([part.mean(0) for part in parts]) + layer.bias
        assert torch.allclose(merged[image], expected)


def test_merging_where_sizes_divide_is_the_papers():
    layer = torch.nn.Linear(4, 1).double()
    tokens, order = torch.randn(1, 20, 3, dtype=torch.float64), torch.randperm(20)[None]
    expected = layer(tokens[0, order[0]].view(5, 4, 3).transpose(1, 2)).squeeze(-1)
    assert torch.allclose(merge_groups(tokens, order, layer, 5)[0], expected)


@pytest.mark.parametrize('size', [(56, 56), (112, 112), (256, 256), (9, 17), (1, 1)])
@pytest.mark.parametrize('cap', [1, 4, None])
def test_number_of_merged_tokens(size, cap):
    limits = None if cap is None else [cap * n for n in groups_at_224(0)]
    attn = SelfGuidedAttention(8, 2, REGIONS[0], limits, None)
    count = attn.merged(torch.randn(2, *size, 8), torch.rand(2, *size)).shape[1]
    ratio = size[0] * size[1] / 56**2
    if ratio >= 1:
        assert count == 60 * min(ratio, cap or ratio) or size == (256, 256) and cap is None
    else:
        assert 1 <= count <= 60


def test_groups_of_the_official_network():
    assert [groups_at_224(i) for i in range(3)] == [[4, 28, 28], [4, 28, 28], [49, 98]]
    assert region_sizes(3136, REGIONS[0]) == [784, 1568, 784]
    assert region_sizes(3139, REGIONS[0]) == [784, 1568, 787]


def test_keys_of_the_last_stage_are_averaged_beyond_the_cap():
    attn = SelfGuidedAttention(8, 2, (), None, 12)
    x = torch.randn(1, 3, 4, 8)
    assert torch.equal(attn.pooled(x), x.flatten(1, 2))
    for sides in [(4, 4), (50, 3), (3, 50), (100, 1), (1, 100)]:
        pooled = attn.pooled(torch.ones(1, *sides, 8))
        assert 4 <= pooled.shape[1] <= 12 and torch.allclose(pooled, torch.ones_like(pooled))


def test_guidance_is_what_the_blocks_use(monkeypatch):
    model = tiny().eval()
    x = torch.randn(2, 3, 97, 131)
    orders = []
    monkeypatch.setattr(
        sgformer, 'token_order', lambda m: orders.append(token_order(m)) or orders[-1]
    )
    model(x)
    guided = sum(model.depths[:3]) // 2
    assert len(orders) == guided, 'the order of a pair of blocks is computed once'
    used, guidance = list(orders), model.guidance(x)
    assert len(guidance) == 3
    for stage, guide in enumerate(guidance):
        blocks = model.depths[stage] // 2
        sides = [-(-side // model.strides[stage]) for side in x.shape[2:]]
        assert guide.importance.shape == guide.regions.shape == (2, blocks, *sides)
        assert not guide.importance.requires_grad and guide.regions.dtype == torch.int64
        for block in range(blocks):
            order = token_order(guide.importance[:, block])
            assert torch.equal(order, used.pop(0))
            ordered = guide.regions[:, block].flatten(1).gather(1, order)
            sizes = region_sizes(order.shape[1], REGIONS[stage])
            expected = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
            assert torch.equal(ordered, expected.expand_as(ordered))


def test_no_gradient_flows_through_the_importance():
    model = tiny().train()
    _, maps = model._run(torch.randn(1, 3, 64, 64))
    assert not any(importance.requires_grad for stage in maps for importance in stage)


def test_table_is_decayed_and_resized():
    """As in the official recipe; the table follows the input, with no size of its own."""
    model = tiny(img_size=(64, 96)).eval()
    assert tuple(model.stem.pos_embed.shape) == (1, 16, 24, 8)
    assert 'stem.pos_embed' not in model.no_weight_decay()
    assert all(torch.isfinite(out).all() for out in model(torch.randn(1, 3, 33, 65)))


def test_deploy_form_is_equal():
    model = tiny().double().eval()
    x = torch.randn(2, 3, 65, 97, dtype=torch.float64)
    expected = model(x)
    model.switch_to_deploy()
    assert model.stages[0].blocks[0].mlp.depthwise.fused
    for out, reference in zip(model(x), expected, strict=True):
        assert torch.allclose(out, reference, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'num_heads': (2, 3, 4, 3), 'embed_dims': (8, 15, 16, 24)}, 'must be even'),
        ({'embed_dims': (8, 16, 18, 24)}, 'multiples of num_heads'),
        ({'embed_dims': (6, 16, 16, 24)}, 'multiple of 4'),
        ({'embed_dims': (8, 16, 16)}, '4 positive integers'),
        ({'depths': (2, 3, 4, 1)}, 'followed by a self-guided one'),
        ({'depths': (2, 0, 4, 1)}, '4 positive integers'),
        ({'mlp_ratio': 0}, 'mlp_ratio=0'),
    ],
)
def test_inconsistent_arch_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SGFormer(TINY | change)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'coarse': 'pool'}, "one of .'window', 'global'"),
        ({'kv_cap': 0}, 'kv_cap=0'),
        ({'last_kv_cap': 1.5}, 'last_kv_cap=1.5'),
        ({'img_size': (224, 224, 3)}, 'img_size'),
        ({'img_size': 0}, 'img_size'),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SGFormer(TINY, **options)
