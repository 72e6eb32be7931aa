"""MGFF's graph part against its equations (``mgff_equations.py``), form by form."""

import itertools

import mgff_equations as eq
import pytest
import torch
from recipe import draw

from mmvit_plugins.models.necks import GraphConv, GraphFusion
from mmvit_plugins.models.necks.graph import initial_adjacency

CHANNELS, NODES, SUPERS = 16, 6, 3
ADJACENCIES = ('learned_dynamic', 'similarity', 'identity')


def randomise(module):
    """Draw every number, so that nothing is zero, one or alike."""
    for key, value in module.state_dict().items():
        if value.is_floating_point():
            value.copy_(draw(key, value.shape))
    return module.double()


def fusion(channels=CHANNELS, nodes=NODES, num_supers=SUPERS, **options):
    return randomise(GraphFusion(channels, nodes, num_supers=num_supers, **options))


def nodes_of(batch=2, nodes=NODES, channels=CHANNELS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, nodes, channels, generator=generator, dtype=torch.float64)


def expected_vector(module, x, adjacency='learned_dynamic', gcn_act='ReLU', **options):
    options = {k: v for k, v in options.items() if k not in ('gcn_norm', 'num_supers')}
    if options.get('pool') == 'avg':
        options['merge'] = 'mean'  # there is one super node
    out = eq.graph_fusion(
        x.numpy(), eq.parameters(module), adjacency, gcn_act, training=module.training, **options
    )
    return torch.from_numpy(out)


def close(a, b, tolerance=1e-12):
    return torch.allclose(a, b, rtol=0, atol=tolerance)


# Every pair of values of two options occurs, and no two rows are alike; checked below.
OPTIONS = {
    'adjacency': (*ADJACENCIES, None),
    'gcn_norm': ('BN1d', 'LN', None),
    'gcn_act': ('ReLU', None),
    'order': ('gcn_pool', 'pool_gcn'),
    'pool': ('linear', 'soft', 'avg'),
    'pool_act': (None, 'GELU'),
    'merge': ('mean', 'linear'),
}


def possible(row):
    return not (row['order'] == 'pool_gcn' and row['pool'] == 'avg')


def pairs_of(row):
    return set(itertools.combinations(row.items(), 2))


def pairwise(options):
    """Choose rows greedily until all pairs that can occur have occurred."""
    rows = [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]
    rows = [row for row in rows if possible(row)]
    wanted, chosen = set().union(*map(pairs_of, rows)), []
    while wanted:
        best = max(rows, key=lambda row: len(pairs_of(row) & wanted))
        chosen.append(best)
        wanted -= pairs_of(best)
    return chosen


ROWS = pairwise(OPTIONS)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(str(v) for v in row.values()))
@pytest.mark.parametrize('training', [True, False])
def test_fusion_equals_the_equations(row, training):
    module, x = fusion(**row).train(training), nodes_of()
    expected = expected_vector(module, x, **row)  # before the norm's statistics move
    assert close(module(x), expected)
    assert close(module.float().eval()(x.float()).double(), expected_vector(module, x, **row), 1e-5)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(str(v) for v in row.values()))
def test_gradients_reach_every_parameter(row):
    module, x = fusion(**row).train(), nodes_of(4).requires_grad_()
    (module(x) * torch.randn(4, CHANNELS, dtype=torch.float64)).sum().backward()
    dead = {n for n, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    allowed = set()
    if row['gcn_norm'] == 'BN1d' and row['adjacency'] in ('identity', 'similarity'):
        allowed.add('conv.linear.bias')  # the same for all nodes: the norm takes it away again
    assert dead <= allowed and x.grad.abs().amax((0, 2)).all()


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('adjacency', ADJACENCIES)
@pytest.mark.parametrize('norm', ['BN1d', 'LN', None])
def test_convolution_equals_its_equation(adjacency, norm, training):
    conv = randomise(GraphConv(CHANNELS, NODES, adjacency, norm=norm)).train(training)
    x = nodes_of()
    expected = eq.graph_conv(x.numpy(), eq.parameters(conv), adjacency, training=training)
    assert close(conv(x), torch.from_numpy(expected))


def test_without_dynamic_part_the_adjacency_is_the_learned_one():
    conv, x = randomise(GraphConv(CHANNELS, NODES)), nodes_of(3)
    assert not torch.equal(*conv.edges(x)[:2])
    torch.nn.init.zeros_(conv.alpha)
    assert torch.equal(conv.edges(x), conv.adjacency.expand(3, -1, -1))


def test_direction_of_the_edges():
    """Node 0 sends to node 2 alone, and nothing comes back."""
    conv = randomise(GraphConv(CHANNELS, NODES, norm=None, act=None))
    torch.nn.init.zeros_(conv.alpha)
    torch.nn.init.zeros_(conv.adjacency)
    with torch.no_grad():
        conv.adjacency[0, 2] = 1
    x = nodes_of()
    y = conv(x)
    assert close(y[:, 2], conv.linear(x)[:, 0]) and not y[:, [0, 1, 3, 4, 5]].any()


def test_beginning():
    conv = GraphConv(CHANNELS, 50)
    assert not conv.alpha.any() and conv.alpha.shape == (1,)
    rows = conv.adjacency.sum(1)
    assert close(rows, torch.ones(50), 1e-6) and conv.adjacency[3, 3] == 0.5 + 0.5 / 50
    assert conv.adjacency[0, 1] == 0.5 / 50
    pim = torch.eye(7) / 100 + 1 / 100  # as PIM writes it
    assert torch.equal(initial_adjacency(7, 'pim'), pim)
    assert torch.equal(GraphConv(CHANNELS, 7, adj_init='pim').adjacency.detach(), pim)


@pytest.mark.parametrize('pool', ['linear', 'soft', 'avg'])
@pytest.mark.parametrize('adjacency', ADJACENCIES)
def test_nodes_have_no_order_of_their_own(adjacency, pool):
    """Nodes in another order, with what is learned for each in that order, give the same."""
    module, x = fusion(adjacency=adjacency, pool=pool).eval(), nodes_of()
    expected, order = module(x), torch.tensor([4, 0, 5, 2, 1, 3])
    with torch.no_grad():
        if pool == 'linear':
            assert not close(module(x[:, order]), expected, 1e-3)
            module.pool.weight.copy_(module.pool.weight[:, order])
        if adjacency == 'learned_dynamic':
            assert not close(module(x[:, order]), expected, 1e-3)
            module.conv.adjacency.copy_(module.conv.adjacency[order][:, order])
    assert close(module(x[:, order]), expected)


@pytest.mark.parametrize('norm', ['BN1d', 'LN', None])
@pytest.mark.parametrize('merge', ['mean', 'linear'])
@pytest.mark.parametrize('adjacency', [*ADJACENCIES, None])
@pytest.mark.parametrize(
    ('order', 'pool'),
    [('gcn_pool', 'linear'), ('gcn_pool', 'avg'), ('pool_gcn', 'linear'), ('pool_gcn', 'soft')],
)
def test_shortcuts_equal_the_plain_path(order, pool, adjacency, merge, norm):
    """With no activation the vector comes without a product of all nodes; all sums stay."""
    module = fusion(
        order=order, pool=pool, adjacency=adjacency, merge=merge, gcn_norm=norm, gcn_act=None
    ).eval()
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        module, x = module.to(dtype), nodes_of().to(dtype)
        out = module(x)
        conv = module.conv or (lambda nodes: nodes)

        def pooled(nodes, module=module):
            if module.pool_type == 'avg':
                return nodes.mean(1, keepdim=True)
            if module.pool_type == 'linear':
                return module.pool(nodes.mT).mT
            return module.pool(nodes).softmax(1).mT @ nodes

        plain = pooled(conv(x)) if order == 'gcn_pool' else conv(pooled(x))
        plain = plain.mean(1) if module.merge is None else module.merge(plain.mT)[..., 0]
        assert torch.allclose(out, plain, rtol=tolerance, atol=tolerance)


def test_the_shortcut_is_taken_where_it_holds_only(monkeypatch):
    taken = []
    whole = GraphConv.weighted_sum

    def watch(self, *args):
        taken.append(True)
        return whole(self, *args)

    monkeypatch.setattr(GraphConv, 'weighted_sum', watch)
    for options, training, holds in [
        (dict(gcn_act=None), False, True),
        (dict(gcn_act=None), True, False),  # the batch's statistics need the nodes
        (dict(gcn_act=None, gcn_norm=None), True, True),
        (dict(gcn_act=None, gcn_norm='LN'), False, False),
        (dict(gcn_act=None, adjacency='similarity'), False, False),
        (dict(gcn_act=None, pool_act='GELU'), False, False),
        (dict(), False, False),
    ]:
        taken.clear()
        fusion(**options).train(training)(nodes_of())
        assert bool(taken) is holds, (options, training)


def test_number_of_super_nodes_matters_with_an_activation_only():
    """Without one, their mean is a weighted mean of the nodes: one super node says the same."""
    for pool_act, same in ((None, True), ('GELU', False)):
        many, one = fusion(pool_act=pool_act).eval(), fusion(pool_act=pool_act, num_supers=1).eval()
        one.conv.load_state_dict(many.conv.state_dict())
        with torch.no_grad():
            one.pool.weight.copy_(many.pool.weight.mean(0, keepdim=True))
            one.pool.bias.copy_(many.pool.bias.mean(0, keepdim=True))
        assert close(one(nodes_of()), many(nodes_of()), 1e-10) is same


@pytest.mark.parametrize(('nodes', 'supers'), [(6, 1), (32, 1), (95, 2), (576, 18)])
def test_super_nodes_by_default(nodes, supers):
    assert GraphFusion(CHANNELS, nodes).pool.weight.shape == (supers, nodes)


def test_any_number_of_nodes():
    for adjacency, pool in itertools.product(('similarity', 'identity', None), ('soft', 'avg')):
        module = fusion(nodes=None, adjacency=adjacency, pool=pool).eval()
        for nodes in (1, 5, 17):
            x = nodes_of(nodes=nodes)
            assert close(module(x), expected_vector(module, x, adjacency, pool=pool))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(gcn_act=None),
        dict(adjacency='similarity', pool='soft'),
        dict(adjacency=None, pool='avg'),
        dict(order='pool_gcn', merge='linear', gcn_act=None),
        dict(pool_act='GELU', gcn_norm='LN'),
    ],
    ids=str,
)
def test_half_precision(options, dtype):
    module, x = fusion(**options).float().eval(), nodes_of().float().requires_grad_()
    expected = module(x)
    for training in (False, True):  # autocast
        with torch.autocast('cpu', dtype=dtype):
            out = module.train(training)(x)
        assert torch.isfinite(out).all()
        if not training:
            assert (out.float() - expected).norm() < 0.03 * expected.norm()
    out.float().sum().backward()
    learned = [x, *module.parameters()]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in learned)
    module.load_state_dict(fusion(**options).float().state_dict())  # statistics have moved
    out = module.eval().to(dtype)(x.to(dtype))
    assert out.dtype is dtype and (out.float() - expected).norm() < 0.06 * expected.norm()


def test_edges_are_in_float32_under_autocast():
    """From the two numbers of each node on, which come from layers in half precision."""
    conv, x = randomise(GraphConv(CHANNELS, NODES)).float(), nodes_of().float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        edges = conv.edges(x)
        q, k = (layer(x).float() for layer in (conv.query, conv.key))
    wanted = conv.adjacency + conv.alpha * torch.tanh(q - k.mT)
    assert edges.dtype is torch.float32 and close(edges, wanted, 1e-6)


def test_similarity_is_measured_in_an_eighth_of_the_channels():
    assert GraphConv(32, None, 'similarity').query.weight.shape == (4, 32)
    assert GraphConv(4, None, 'similarity').key.weight.shape == (1, 4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(adjacency='learned'), r"adjacency='learned'.*'learned_dynamic', 'similarity'"),
        (dict(adj_init='zero'), r"adj_init='zero'.*'balanced', 'pim'"),
        (dict(gcn_norm='BN'), r"gcn_norm='BN'.*'BN1d', 'LN', None"),
        (dict(gcn_act='Tanh'), r"gcn_act='Tanh'.*'ReLU'"),
        (dict(order='pool'), r"order='pool'.*'gcn_pool', 'pool_gcn'"),
        (dict(pool='max'), r"pool='max'.*'linear', 'soft', 'avg'"),
        (dict(pool_act='Tanh'), r"pool_act='Tanh'.*'GELU'"),
        (dict(merge='max'), r"merge='max'.*'mean', 'linear'"),
        (dict(num_supers=0), 'num_supers=0 must be a positive integer'),
        (dict(num_supers=2.5), 'num_supers=2.5 must be a positive integer'),
        (dict(order='pool_gcn', pool='avg'), "order='pool_gcn' needs super nodes"),
        (dict(nodes=None), "for any number take pool='soft'"),
        (dict(nodes=None, adjacency=None), "for any number take pool='soft'"),
        (dict(nodes=None, pool='avg'), "for any number take adjacency='similarity'"),
    ],
    ids=str,
)
def test_wrong_arguments_name_the_allowed_values(options, message):
    with pytest.raises(ValueError, match=message):
        GraphFusion(CHANNELS, options.pop('nodes', NODES), **options)


def test_learned_adjacency_needs_a_number_of_nodes():
    with pytest.raises(ValueError, match='nodes=None'):
        GraphConv(CHANNELS, None)


@pytest.mark.parametrize('shape', [(2, NODES + 1, CHANNELS), (2, NODES, 4), (NODES, CHANNELS)])
def test_other_nodes_are_refused(shape):
    with pytest.raises(ValueError, match=rf'\(N, {NODES}, {CHANNELS}\) is needed'):
        fusion()(torch.zeros(shape, dtype=torch.float64))
