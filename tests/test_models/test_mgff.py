"""MGFF against its equations (``mgff_equations.py``): each step, the whole, what is refused."""

import copy
import itertools

import mgff_equations as eq
import pytest
import torch
import torch.nn.functional as F
from recipe import draw

from mmvit_plugins.layers import SqueezeExcite
from mmvit_plugins.models import MGFF
from mmvit_plugins.models.necks import SpatialAttention, Unify

# Strides 4, 8, 16, 16, as of a Swin with mergings behind its stages, shrunk
MAPS = {'in_channels': (4, 6, 8, 8), 'strides': (4, 8, 16, 16)}
NECK = {**MAPS, 'grid_size': (3, 2), 'num_heads': 2, 'se_ratio': 2, 'num_supers': 3}
SIZE = (48, 32)  # that the grid is made for


def randomise(module):
    """Draw every number, so that nothing is zero, one or alike."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(draw(key, value.shape))
    return module


def neck(**options):
    return randomise(MGFF(**(NECK | options))).double()


def maps_of(size=SIZE, batch=2, seed=0, dtype=torch.float64, **maps):
    """What a backbone returns for pictures of a size: sides over strides, rounded up."""
    channels, strides = ((MAPS | maps)[key] for key in ('in_channels', 'strides'))
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, c, *(-(-side // s) for side in size), generator=generator, dtype=dtype)
        for c, s in zip(channels, strides, strict=True)
    )


def expected(module, inputs, **options):
    """The whole neck by its equations, with the arguments that it was built with."""
    o = NECK | options
    p = eq.parameters(module)
    grid = o['grid_size']
    grid = (grid, grid) if isinstance(grid, int) else grid
    kernels = [-(-max(o['strides']) // stride) for stride in o['strides']]
    maps = eq.granularities(
        inputs,
        p,
        kernels,
        grid,
        o['num_heads'],
        residual=o.get('attn_residual', True),
        attend=o.get('attention', True),
        excite=o['se_ratio'] is not None,
    )
    fuse, adjacency = o.get('fuse', 'node'), o.get('adjacency', 'learned_dynamic')
    if fuse == 'channel':
        maps = [eq.fit(x, maps[-1].shape[1:3]) for x in maps]
    nodes, graph = eq.join(maps, fuse), eq.under(p, 'graph.')
    act = o.get('gcn_act', 'ReLU')
    if o.get('out_type') == 'maps':
        if adjacency is not None:
            graph = eq.under(graph, 'conv.')
            nodes = eq.graph_conv(nodes, graph, adjacency, act, module.training)
        outs = eq.maps_out(inputs, eq.split(nodes, maps, fuse), p, o.get('num_outs'))
        return [torch.from_numpy(out).permute(0, 3, 1, 2) for out in outs]
    vector = eq.graph_fusion(
        nodes,
        graph,
        adjacency,
        act,
        o.get('order', 'gcn_pool'),
        o.get('pool', 'linear'),
        o.get('pool_act'),
        o.get('merge', 'mean'),
        module.training,
    )
    returned = maps if o.get('return_maps') else []
    outs = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in returned]
    return [*outs, torch.from_numpy(vector)]


def close(outs, wanted, tolerance=1e-12):
    return all(
        a.shape == b.shape and torch.allclose(a.double(), b, rtol=0, atol=tolerance)
        for a, b in zip(outs, wanted, strict=True)
    )


# Steps


@pytest.mark.parametrize('size', [(6, 4), (7, 5), (12, 9), (4, 8), (1, 1)])
@pytest.mark.parametrize('kernel', [1, 2, 3])
@pytest.mark.parametrize('grid', [None, (3, 2), (5, 4)])
def test_unify_equals_its_equation(size, kernel, grid):
    module = randomise(Unify(4, 6, kernel, grid)).double()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    wanted = eq.fit(eq.unify(eq.nhwc(x), eq.parameters(module), kernel), grid)
    assert close([module(x)], [torch.from_numpy(wanted).permute(0, 3, 1, 2)])


def test_only_the_last_map_may_go_without_a_convolution():
    """A convolution of kernel 1 is one, too, where the last map comes in other channels."""
    module = MGFF(**NECK)
    assert [unify.conv is not None for unify in module.unify] == [True, True, True, False]
    assert [u.conv.kernel_size for u in module.unify[:3]] == [(4, 4), (2, 2), (1, 1)]
    assert all(u.conv.kernel_size == u.conv.stride for u in module.unify[:3])
    assert MGFF(**(NECK | {'embed_dims': 4})).unify[3].conv.kernel_size == (1, 1)
    last = MGFF((8, 8), (16, 8), 3, num_heads=2)  # the finest map last
    assert [unify.conv.kernel_size for unify in last.unify] == [(1, 1), (2, 2)]


def test_a_map_of_the_grid_is_not_resampled(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError('resampled')

    module = neck()
    monkeypatch.setattr(F, 'adaptive_avg_pool2d', refuse)
    monkeypatch.setattr(F, 'interpolate', refuse)
    module(maps_of())
    with pytest.raises(AssertionError, match='resampled'):
        module(maps_of((64, 32)))


@pytest.mark.parametrize('heads', [1, 2, 4])
@pytest.mark.parametrize('grid', [None, (3, 2), (2, 3)])
@pytest.mark.parametrize(
    ('residual', 'norm', 'proj'),
    [(True, True, True), (False, False, False), (True, False, True), (False, True, False)],
)
def test_attention_equals_its_equation(heads, grid, residual, norm, proj):
    """Once as in training, once without gradients, where one head takes a shortcut."""
    module = SpatialAttention(8, heads, grid, residual=residual, norm=norm, proj=proj)
    module = randomise(module).double().eval()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    p = eq.parameters(module)
    assert (grid is None) == ('relative_position_bias_table' not in p)
    wanted = torch.from_numpy(eq.attention(x.numpy(), p, heads, grid, residual))
    assert close([module(x)], [wanted])
    with torch.no_grad():
        assert close([module(x)], [wanted])
        assert close([module.float()(x.float())], [wanted], 1e-5)


@pytest.mark.parametrize('heads', [1, 2])
def test_attention_keeps_nothing_stale(heads):
    """What inference keeps of the weights follows them."""
    module = randomise(SpatialAttention(8, heads, (3, 2))).double().eval()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    with torch.no_grad():
        before = module(x)
        for parameter in module.parameters():
            parameter.mul_(1.5)
            after = module(x)
            assert not torch.equal(after, before)
            before = after
    wanted = eq.attention(x.numpy(), eq.parameters(module), heads, (3, 2))
    assert close([before], [torch.from_numpy(wanted)])


def test_attention_weights_drop_in_training_only():
    module = randomise(SpatialAttention(8, 2, (3, 2), attn_drop_rate=0.5)).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    assert not torch.equal(module(x), module(x))
    wanted = eq.attention(x.numpy(), eq.parameters(module), 2, (3, 2))
    assert close([module.eval()(x)], [torch.from_numpy(wanted)])


def test_squeeze_excite_equals_its_equation():
    module, x = randomise(SqueezeExcite(8, 2)).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    wanted = eq.squeeze_excite(x.numpy(), eq.parameters(module))
    assert close([module(x)], [torch.from_numpy(wanted)])


# The whole neck


OPTIONS = [
    {},
    {'num_heads': 1, 'attn_residual': False, 'attn_norm': False, 'attn_proj': False},  # literal
    {'attention': False, 'fuse': 'channel', 'order': 'pool_gcn', 'merge': 'linear'},
    {'se_ratio': None, 'adjacency': 'similarity', 'pool': 'soft', 'gcn_norm': 'LN'},
    {'adjacency': 'identity', 'pool': 'avg', 'gcn_act': None, 'embed_dims': 16},
    {'adjacency': None, 'fuse': 'channel', 'pool': 'soft', 'pool_act': 'GELU'},
    {'adjacency': None, 'attention': False, 'se_ratio': None, 'pool': 'avg'},
    {'pool_act': 'GELU', 'num_heads': 4, 'attn_residual': False, 'merge': 'linear'},
    {'order': 'pool_gcn', 'merge': 'linear', 'gcn_act': None, 'adj_init': 'pim'},
    {'fuse': 'channel', 'gcn_norm': None, 'gcn_act': None, 'attn_norm': False},
    {'return_maps': True, 'embed_dims': 12, 'attn_proj': False},
    {'return_maps': True, 'fuse': 'channel', 'se_ratio': None, 'adjacency': 'similarity'},
]
MAPS_OUT = [
    {'out_channels': 5},
    {'out_channels': 5, 'fuse': 'channel', 'adjacency': 'similarity', 'num_outs': 6},
    {'out_channels': 3, 'adjacency': None, 'attention': False, 'num_outs': 5},
    {'out_channels': 8, 'adjacency': 'identity', 'se_ratio': None, 'embed_dims': 12},
]
OPTIONS += [{'out_type': 'maps', **options} for options in MAPS_OUT]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_neck_equals_the_equations(options):
    inputs, module = maps_of(), neck(**options)
    wanted = expected(module, inputs, **options)
    assert close(module(inputs), wanted)
    wanted = expected(module.eval(), inputs, **options)
    assert close(module(inputs), wanted)
    with torch.no_grad():
        assert close(module(inputs), wanted)
        assert close(module.float()([x.float() for x in inputs]), wanted, 1e-5)


@pytest.mark.parametrize(
    'size',
    [(40, 32), (64, 48), (50, 44), (16, 16), (33, 130)],  # 320, 384 and 400x352 of 384, and odd
    ids=str,
)
@pytest.mark.parametrize('options', [{}, {'fuse': 'channel'}, {'out_type': 'maps'}], ids=str)
def test_any_size(size, options):
    module, inputs = neck(**options).eval(), maps_of(size)
    outs = module(inputs)
    assert close(outs, expected(module, inputs, **options))
    if options.get('out_type') == 'maps':
        assert [out.shape[2:] for out in outs] == [x.shape[2:] for x in inputs]


@pytest.mark.parametrize(('adjacency', 'pool'), [('similarity', 'soft'), (None, 'avg')])
@pytest.mark.parametrize('fuse', ['node', 'channel'])
def test_without_a_grid_each_picture_keeps_its_own(adjacency, pool, fuse):
    options = {'grid_size': None, 'adjacency': adjacency, 'pool': pool, 'fuse': fuse}
    module = neck(return_maps=True, **options).eval()
    assert not any('position' in name for name, _ in module.named_parameters())
    for size in (SIZE, (16, 80), (37, 50)):
        inputs = maps_of(size)
        outs = module(inputs)
        assert close(outs, expected(module, inputs, return_maps=True, **options))
        assert outs[0].shape[2:] == inputs[-1].shape[2:]
    maps = {'out_type': 'maps', 'grid_size': None, 'adjacency': 'identity'}
    module, inputs = neck(**maps).eval(), maps_of((37, 50))
    assert close(module(inputs), expected(module, inputs, **maps))


@pytest.mark.parametrize(
    ('channels', 'strides', 'kernels'),
    [
        ((8,), (32,), (1,)),
        ((8,), (7,), (1,)),
        ((4, 8), (16, 16), (1, 1)),
        ((4, 6, 8), (8, 12, 32), (4, 3, 1)),  # 32 / 12, rounded up
        ((4, 8, 6), (5, 16, 7), (4, 1, 3)),  # the coarsest map in the middle
        ((2, 4, 4, 6, 8), (4, 8, 8, 16, 32), (8, 4, 4, 2, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize('options', [{}, {'fuse': 'channel'}, {'out_type': 'maps'}], ids=str)
def test_any_number_of_maps_and_strides(channels, strides, kernels, options):
    options = {'in_channels': channels, 'strides': strides, 'grid_size': 2, **options}
    module, inputs = neck(**options).eval(), maps_of((64, 56), **options)
    assert tuple(unify.kernel_size for unify in module.unify) == kernels
    assert close(module(inputs), expected(module, inputs, **options))


def test_nothing_but_unification_is_a_mean_of_means():
    """Without attention, excitation and graph: the mean over maps of each map's mean."""
    options = {'attention': False, 'se_ratio': None, 'pool': 'avg', 'adjacency': None}
    module, inputs = neck(**options), maps_of()
    wanted = sum(u(x).mean((2, 3)) for u, x in zip(module.unify, inputs, strict=True)) / 4
    assert close(module(inputs), [wanted])
    joined = neck(**options, fuse='channel')
    means = [u(x).mean((2, 3)) for u, x in zip(joined.unify, inputs, strict=True)]
    assert close(joined(inputs), [torch.cat(means, 1)])


def test_channels_of_the_output():
    for options, channels in [
        ({}, 8),
        ({'embed_dims': 12}, 12),
        ({'fuse': 'channel'}, 32),
        ({'out_type': 'maps', 'fuse': 'channel'}, 256),
        ({'out_type': 'maps', 'out_channels': 7}, 7),
    ]:
        module = neck(**options)
        outs = module(maps_of())
        assert isinstance(outs, tuple) and len(outs) == (4 if 'out_type' in options else 1)
        assert module.out_channels == channels == outs[-1].shape[1]


def test_maps_begin_as_plain_projections():
    """Whatever the graph does: what comes back from it starts at zero and can learn."""
    torch.manual_seed(0)
    module, inputs = MGFF(**NECK, out_type='maps').double(), maps_of()
    module.init_weights()
    outs = module(inputs)
    for out, x, lateral in zip(outs, inputs, module.lateral, strict=True):
        assert torch.equal(out, lateral(x)) and out.std() > 0.1
    sum(out.square().sum() for out in outs).backward()
    assert all(conv.weight.grad.abs().max() > 1e-6 for conv in module.back)
    assert not [name for name, _ in module.graph.named_children() if name in ('pool', 'merge')]


def test_beginning():
    torch.manual_seed(0)
    module = MGFF(**(NECK | {'in_channels': (64, 64, 64, 64), 'grid_size': 7}))
    module.init_weights()
    state = module.state_dict()
    drawn = [v for k, v in state.items() if k.endswith(('conv.weight', 'qkv.weight', '_table'))]
    assert len(drawn) == 3 + 4 + 4
    for value in drawn:
        assert value.std() == pytest.approx(0.02, rel=0.15) and value.abs().max() < 2
    biases = [v for k, v in state.items() if k.endswith('bias')]
    assert not any(v.any() for v in biases)
    assert not state['graph.conv.alpha'].any()


def test_the_vector_begins_as_large_as_the_nodes():
    """However many nodes there are: a classifier behind it sees something."""
    for grid in (4, 12):
        torch.manual_seed(0)
        module = MGFF((64,), (32,), grid, attention=False, se_ratio=None, adjacency=None)
        x = torch.ones(1, 64, grid, grid)
        assert torch.allclose(module((x,))[0], torch.ones(1, 64), atol=0.4)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_gradients_reach_every_parameter(options):
    module = neck(**options)
    inputs = tuple(x.requires_grad_() for x in maps_of(batch=4))
    sum((out * torch.randn_like(out)).sum() for out in module(inputs)).backward()
    # added to all scores of one softmax, or taken away again by the norm behind it
    without_effect = {'graph.conv.linear.bias'}
    if 'adjacency' not in options:
        without_effect = {}
    for name, p in module.named_parameters():
        if name not in without_effect:
            assert p.grad is not None and p.grad.abs().max() > 1e-10, name
    for x in inputs:  # every place
        assert (x.grad.abs().amax((0, 1)) > 0).all()


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_gradients_are_those_of_the_equations(options):
    """By differences along one direction of all parameters at once."""
    module, inputs = neck(**options), maps_of()
    parameters = list(module.parameters())
    generator = torch.Generator().manual_seed(1)
    steps = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]

    def loss(outs):
        return sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in outs)

    gradients = torch.autograd.grad(loss(module(inputs)), parameters, allow_unused=False)
    slope = sum((g * s).sum() for g, s in zip(gradients, steps, strict=True))
    values = []
    for sign in (1, -1):
        moved = copy.deepcopy(module)
        with torch.no_grad():
            for p, step in zip(moved.parameters(), steps, strict=True):
                p.add_(step, alpha=sign * 1e-6)
        values.append(loss(expected(moved, inputs, **options)))
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(('norm', 'act'), itertools.product(['BN1d', 'LN', None], ['ReLU', None]))
def test_a_batch_of_one_trains(norm, act):
    """The norm's statistics are over nodes, too."""
    options = {'gcn_norm': norm, 'gcn_act': act}
    module, inputs = neck(**options), maps_of(batch=1)
    wanted = expected(module, inputs, **options)
    outs = module(inputs)
    assert close(outs, wanted)
    outs[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())
    one = MGFF((8,), (32,), 1, num_heads=2, gcn_norm=norm, gcn_act=act)
    if norm == 'BN1d':
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            one((torch.randn(1, 8, 1, 1),))
    else:
        one((torch.randn(1, 8, 1, 1),))


HALF = [OPTIONS[i] for i in (0, 1, 3, 8, 10, 12)]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('options', HALF, ids=str)
def test_half_precision(options, dtype):
    module = neck(**options).float().eval()
    inputs = maps_of(dtype=torch.float32)
    wanted = module(inputs)
    limit = 0.1 if dtype is torch.bfloat16 else 0.02
    with torch.autocast('cpu', dtype=dtype):
        outs = module(inputs)
    with torch.no_grad():
        plain = copy.deepcopy(module).to(dtype)([x.to(dtype) for x in inputs])
        with torch.autocast('cpu', dtype=dtype):
            again = module(inputs)
    for a, b, c, ref in zip(outs, plain, again, wanted, strict=True):
        assert b.dtype is dtype
        for out in (a, b, c):
            assert (out.float() - ref).norm() < limit * ref.norm()
    with torch.autocast('cpu', dtype=dtype):
        loss = sum(out.float().square().mean() for out in module.train()(inputs))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


TWO = {'in_channels': (4, 8), 'strides': (8, 16)}  # maps are enough where it is about branches
FREE = {'grid_size': None, 'adjacency': 'similarity', 'pool': 'soft', 'fuse': 'channel'}


@pytest.mark.parametrize('options', [OPTIONS[1], FREE, OPTIONS[12]], ids=str)
def test_compiles_into_one_graph(options):
    torch._dynamo.reset()
    module, inputs = neck(**TWO, **options).eval(), maps_of(**TWO)
    compiled = torch.compile(module, fullgraph=True, backend='eager')
    with torch.no_grad():
        assert close(compiled(inputs), module(inputs), 1e-10)
    sum(out.sum() for out in torch.compile(module.train(), fullgraph=True, backend='eager')(inputs))


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, FREE, {'out_type': 'maps'}], ids=str)
def test_compiles_for_any_size_at_once(options):
    torch._dynamo.reset()
    module, graphs = neck(**TWO, **options).eval(), []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=count)
    with torch.no_grad():
        for size in ((176, 208), (250, 147), (304, 400)):  # larger than the grid's
            inputs = maps_of(size, **TWO)
            assert close(compiled(inputs), module(inputs), 1e-10)
    assert len(graphs) == 1


def test_exports():
    """Inside another module: torch's own has an attribute ``graph``, as the neck has."""
    module, inputs = neck(**TWO).eval(), maps_of(**TWO)
    exported = torch.export.export(torch.nn.Sequential(module), (inputs,)).module()
    inputs = maps_of(seed=1, **TWO)
    assert close(exported(inputs), module(inputs), 1e-10)


@pytest.mark.parametrize('options', [OPTIONS[i] for i in (0, 3, 8, 13)], ids=str)
def test_state_dict_round_trip(options, tmp_path):
    module, inputs = neck(**options).eval(), maps_of()
    torch.save(module.state_dict(), tmp_path / 'neck.pth')
    other = MGFF(**(NECK | options)).double().eval()
    assert not close(other(inputs), module(inputs), 1e-3)
    other.load_state_dict(torch.load(tmp_path / 'neck.pth', weights_only=True))
    assert all(map(torch.equal, other(inputs), module(inputs)))


def test_inputs_and_arguments_are_left_alone():
    options, inputs = copy.deepcopy(NECK), maps_of()
    kept = [x.clone() for x in inputs]
    first = neck()(list(inputs))
    second = neck()([x.contiguous(memory_format=torch.channels_last) for x in inputs])
    assert options == NECK and all(map(torch.equal, inputs, kept))
    assert close(first, second)


# Parameters, millions, that the reference publishes for PIM's q and k (C / 4 numbers a node) and no
# norm before attention
SWIN = {'in_channels': (256, 512, 1024, 1024), 'strides': (8, 16, 32, 32), 'grid_size': 12}
RESNET = {'in_channels': (256, 512, 1024, 2048), 'strides': (4, 8, 16, 32), 'grid_size': 14}
PUBLISHED = [
    (26.6, SWIN),
    (26.3, {**SWIN, 'order': 'pool_gcn'}),
    (49.9, {**SWIN, 'fuse': 'channel'}),
    (9.3, {**SWIN, 'embed_dims': 512}),
    (33.9, {'in_channels': (128, 256, 512, 1024), 'strides': (4, 8, 16, 32), 'grid_size': 12}),
    (14.8, {'in_channels': (192, 384, 768, 768), 'strides': (8, 16, 32, 32), 'grid_size': 7}),
    (59.4, {'in_channels': (384, 768, 1536, 1536), 'strides': (8, 16, 32, 32), 'grid_size': 12}),
    (18.0, {'in_channels': (768,) * 4, 'strides': (16,) * 4, 'grid_size': 24}),
    (21.1, {**RESNET, 'embed_dims': 512}),
    (134.9, RESNET),  # published as 135
]


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(('millions', 'options'), PUBLISHED, ids=str)
def test_parameters_are_as_many_as_published(millions, options):
    with torch.device('meta'):
        module = MGFF(**options)
    channels = module.graph.channels
    theirs = 2 * (channels // 4 - 1) * (channels + 1)  # q and k
    norms = sum(count(attend.norm) for attend in module.attention)
    assert abs(count(module) + theirs - norms - millions * 1e6) < 0.05e6


def test_parameters_to_the_unit():
    """Of Swin-B at 384 pixels, by part."""
    with torch.device('meta'):
        module = MGFF(**SWIN)
    c = 1024
    assert [count(u) for u in module.unify] == [
        256 * c * 16 + c,
        512 * c * 4 + c,
        c * c + c,
        0,
    ]
    attention = 3 * (c * c + c) + c * c + c + 23 * 23 * 8 + 2 * c
    assert {count(a) for a in module.attention} == {attention}
    assert {count(s) for s in module.se} == {2 * c * 64 + 64 + c}
    graph = c * c + c + 576 * 576 + 1 + 2 * (c + 1) + 2 * c + 576 * 18 + 18
    assert count(module.graph) == graph


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'strides': (4, 8, 16)}, r'strides=\(4, 8, 16\) must have one entry for each'),
        ({'strides': (4, 8, 16, 0)}, r'strides=.* must be positive integers'),
        ({'strides': (4, 8, -16, 16)}, r'strides=.* must be positive integers'),
        ({'strides': (4, 8, 16, 16.0)}, r'strides=.* must be positive integers'),
        ({'strides': 16}, r'strides=16 must be positive integers'),
        ({'in_channels': ()}, r'in_channels=\(\) must be positive integers'),
        ({'in_channels': (4, 6, 8, 0)}, r'in_channels=.* must be positive integers'),
        ({'in_channels': None}, r'in_channels=None must be positive integers'),
        ({'grid_size': 0}, r'grid_size=0 must be a positive integer'),
        ({'grid_size': (3,)}, r'grid_size=\(3,\) must be a positive integer, or height and width'),
        ({'grid_size': 2.0}, r'grid_size=2.0 must be'),
        ({'embed_dims': 0}, r'embed_dims=0 must be a positive integer'),
        ({'num_heads': 3}, r'num_heads=3 must divide embed_dims=8'),
        ({'num_heads': 0}, r'num_heads=0 must'),
        ({'num_heads': 2.0}, r'num_heads=2.0 must'),
        ({'se_ratio': 0}, r'se_ratio=0 must'),
        ({'se_ratio': -4}, r'se_ratio=-4 must'),
        ({'attn_drop_rate': 1.5}, r'attn_drop_rate=1.5 must'),
        ({'fuse': 'sum'}, r"fuse='sum' must be one of \('node', 'channel'\)"),
        ({'out_type': 'raw'}, r"out_type='raw' must be one of \('vector', 'maps'\)"),
        ({'adjacency': 'learned'}, r"'learned_dynamic', 'similarity', 'identity', None"),
        ({'adj_init': None}, r"adj_init=None must be one of \('balanced', 'pim'\)"),
        ({'gcn_norm': 'GN'}, r"gcn_norm='GN' must be one of \('BN1d', 'LN', None\)"),
        ({'gcn_act': 'relu'}, r"gcn_act='relu' must be one of \('ReLU'"),
        ({'order': 'gcn'}, r"order='gcn' must be one of \('gcn_pool', 'pool_gcn'\)"),
        ({'pool': None}, r"pool=None must be one of \('linear', 'soft', 'avg'\)"),
        ({'pool': 'max'}, r"pool='max' must be one of \('linear', 'soft', 'avg'"),
        ({'pool_act': 'gelu'}, r"pool_act='gelu' must be one of .*'GELU'"),
        ({'merge': 'sum'}, r"merge='sum' must be one of \('mean', 'linear'\)"),
        ({'num_supers': -1}, r'num_supers=-1 must be a positive integer'),
        ({'order': 'pool_gcn', 'pool': 'avg'}, 'needs super nodes'),
        ({'grid_size': None}, "'similarity', 'identity' or None"),
        ({'grid_size': None, 'pool': 'avg'}, "'similarity', 'identity' or None"),
        ({'grid_size': None, 'adjacency': 'similarity'}, "take pool='soft' or 'avg'"),
        ({'grid_size': None, 'out_type': 'maps'}, "'similarity', 'identity' or None"),
        ({'out_type': 'maps', 'order': 'pool_gcn'}, "set order='gcn_pool'"),
        ({'out_type': 'maps', 'return_maps': True}, 'return_maps=False'),
        ({'out_type': 'maps', 'num_outs': 3}, 'num_outs=3 must be at least the 4 maps'),
        ({'out_type': 'maps', 'num_outs': 4.5}, 'num_outs=4.5 must'),
        ({'out_type': 'maps', 'out_channels': 0}, r'out_channels=0 must be a positive integer'),
    ],
    ids=str,
)
def test_wrong_arguments_name_the_allowed_values(options, message):
    with pytest.raises(ValueError, match=message):
        MGFF(**(NECK | options))


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match='heads'):
        MGFF(**NECK, heads=2)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            lambda maps: (*maps, maps[-1]),
            r'5 maps came, but in_channels=\(4, 6, 8, 8\) announces 4',
        ),
        (lambda maps: maps[:3], '3 maps came'),
        (lambda maps: maps[0], 'no sequence came'),
        (lambda maps: (*maps[:2], maps[1], maps[3]), r'map 2 .*\(2, 6, 6, 4\), but \(N, 8, H, W\)'),
        (lambda maps: tuple(x.permute(0, 2, 3, 1) for x in maps), r'map 0 .*\(N, 4, H, W\)'),
        (lambda maps: tuple(x.flatten(2) for x in maps), r'map 0 .*\(N, 4, H, W\)'),
        (lambda maps: tuple(x[0] for x in maps), r'map 0 .*\(N, 4, H, W\)'),
    ],
)
def test_other_maps_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        neck()(change(maps_of()))
