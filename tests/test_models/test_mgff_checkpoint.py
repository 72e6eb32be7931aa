"""PIM's combiner in our graph: the same numbers come out, and what does not fit is refused."""

import hosts
import mgff_equations as eq
import pytest
import torch
from hosts import equal
from mmengine.runner import load_checkpoint
from mmpretrain.registry import MODELS as PRETRAIN
from recipe import draw

from mmvit_plugins.checkpoint import CheckpointMismatchError, convert_file, convert_state
from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.models import MGFF, AFFormer, SwinTransformer
from mmvit_plugins.models.necks import GraphFusion

CHANNELS, NODES, SUPERS, CLASSES = 16, 64, 2, 3
SHAPES = {
    'param_pool0.weight': (SUPERS, NODES),
    'param_pool0.bias': (SUPERS,),
    'adj1': (SUPERS, SUPERS),
    'conv1.weight': (CHANNELS, CHANNELS, 1),
    'conv1.bias': (CHANNELS,),
    'batch_norm1.weight': (CHANNELS,),
    'batch_norm1.bias': (CHANNELS,),
    'batch_norm1.running_mean': (CHANNELS,),
    'batch_norm1.running_var': (CHANNELS,),
    'conv_q1.weight': (CHANNELS // 4, CHANNELS, 1),
    'conv_q1.bias': (CHANNELS // 4,),
    'conv_k1.weight': (CHANNELS // 4, CHANNELS, 1),
    'conv_k1.bias': (CHANNELS // 4,),
    'alpha1': (1,),
    'param_pool1.weight': (1, SUPERS),
    'param_pool1.bias': (1,),
    'classifier.weight': (CLASSES, CHANNELS),
    'classifier.bias': (CLASSES,),
}
FORM = {'order': 'pool_gcn', 'pool': 'linear', 'merge': 'linear', 'gcn_act': None}
# Two maps of 8 x 4 places, attention and excitation left out
NECK = {
    'in_channels': (CHANNELS, CHANNELS),
    'strides': (16, 16),
    'grid_size': (8, 4),
    'attention': False,
    'se_ratio': None,
    **FORM,
}
(LAYOUT,) = CONVERTERS['GraphFusion']
ARCH = {'embed_dims': 8, 'depths': (1, 1, 1, 1), 'num_heads': (1, 2, 2, 4), 'window_size': 4}


@pytest.fixture
def pim():
    """Every number drawn, the rows of q and k all different."""
    state = {key: draw(key, shape) for key, shape in SHAPES.items()}
    return state | {'batch_norm1.num_batches_tracked': torch.tensor(7)}


@pytest.fixture
def graph_of_pim(pim):
    """All but the classifier."""
    return {key: value for key, value in pim.items() if not key.startswith('classifier.')}


def in_whole(pim, prefix='combiner.'):
    """Beside the other parts that PIM's files have."""
    rest = {
        'fpn.Proj_layer1.0.weight': torch.ones(2, 2),
        'fpn_classifier_layer1.0.bias': torch.ones(2),
    }
    return {f'{prefix}{key}': value for key, value in pim.items()} | rest


FILES = {
    'model': lambda pim: {'model': in_whole(pim), 'epoch': 49, 'optimizer': {}},
    'state_dict': lambda pim: {'state_dict': in_whole(pim)},
    'module.': lambda pim: {'model': in_whole(pim, 'module.combiner.')},
    'bare': lambda pim: pim,
}


@pytest.fixture(params=FILES)
def file(request, pim, tmp_path):
    torch.save(FILES[request.param](pim), tmp_path / 'pim.pth')
    return tmp_path / 'pim.pth'


@pytest.fixture
def one_file(pim, tmp_path):
    torch.save(FILES['model'](pim), tmp_path / 'pim.pth')
    return str(tmp_path / 'pim.pth')


@pytest.fixture
def log(log):
    """Of all messages, what loading says."""
    return lambda: [line for line in log() if line.startswith('GraphFusion:')]


def doubles(state):
    return {key: value.double().numpy() for key, value in state.items()}


def nodes(batch=3):
    return torch.randn(batch, NODES, CHANNELS, dtype=torch.float64)


def logits(module, pim, x):
    """What our graph and PIM's classifier say."""
    return module(x) @ pim['classifier.weight'].double().T + pim['classifier.bias'].double()


def agrees(module, pim, x, tolerance=1e-7):
    """In float64; the mean of the rows of q and k is kept in float32."""
    wanted = torch.from_numpy(eq.pim(x.mT.numpy(), doubles(pim), module.training))
    return torch.allclose(logits(module, pim, x), wanted, rtol=0, atol=tolerance)


def test_every_file_loads_through_the_neck(file, pim, log):
    neck = MGFF(**NECK, graph_init_cfg={'type': 'Pretrained', 'checkpoint': str(file)})
    neck.init_weights()
    module = neck.double().graph.eval()
    assert agrees(module, pim, nodes())
    assert not agrees(module, pim | {'alpha1': torch.zeros(1)}, nodes(), 1e-3)
    (line,) = log()
    assert 'layout: pim combiner' in line
    assert f'{len(module.state_dict())} of {len(module.state_dict())} tensors used' in line
    assert 'classifier.weight' in line.partition('unexpected: ')[2]


def test_a_prefix_may_be_given(one_file, pim):
    pretrained = {'type': 'Pretrained', 'checkpoint': one_file, 'prefix': 'combiner.'}
    neck = MGFF(**NECK, graph_init_cfg=pretrained)
    neck.init_weights()
    assert agrees(neck.double().graph.eval(), pim, nodes())


def test_the_neck_feeds_it_as_pim_does(one_file, pim):
    """All places of all maps, the first map first, row by row."""
    neck = MGFF(**NECK, graph_init_cfg={'type': 'Pretrained', 'checkpoint': one_file})
    neck.init_weights()
    neck = neck.double().eval()
    maps = [torch.randn(2, CHANNELS, 8, 4, dtype=torch.float64) for _ in range(2)]
    with torch.no_grad():
        unified = [unify(x) for unify, x in zip(neck.unify, maps, strict=True)]
    places = torch.cat([x.flatten(2) for x in unified], 2)  # (N, C, S), as PIM has it
    wanted = torch.from_numpy(eq.pim(places.numpy(), doubles(pim)))
    got = neck(maps)[0] @ pim['classifier.weight'].double().T + pim['classifier.bias'].double()
    assert torch.allclose(got, wanted, rtol=0, atol=1e-7)


def test_training_continues_as_in_pim(graph_of_pim, pim):
    module = GraphFusion(CHANNELS, NODES, **FORM)
    module.load_state_dict(graph_of_pim)  # strictly
    module = module.double().train()
    x = nodes()
    assert agrees(module, pim, x)
    assert module.conv.norm.num_batches_tracked == 8


def test_rows_of_queries_and_keys_are_averaged(graph_of_pim):
    ours = LAYOUT.to_ours(graph_of_pim)
    for key, theirs in (('conv.query', 'conv_q1'), ('conv.key', 'conv_k1')):
        weight, bias = graph_of_pim[f'{theirs}.weight'], graph_of_pim[f'{theirs}.bias']
        assert ours[f'{key}.weight'].shape == (1, CHANNELS)
        assert ours[f'{key}.bias'].shape == (1,)
        assert torch.allclose(ours[f'{key}.weight'][0], weight[..., 0].mean(0), atol=1e-7)
        assert torch.allclose(ours[f'{key}.bias'][0], bias.mean(), atol=1e-7)
    averaged = ('query', 'key')
    same = {key: value for key, value in ours.items() if key.split('.')[1] not in averaged}
    numbers = sum(value.numel() for value in same.values())
    theirs = {k: v for k, v in graph_of_pim.items() if not k.startswith(('conv_q', 'conv_k'))}
    assert numbers == sum(value.numel() for value in theirs.values())


def test_there_and_back(pim):
    module = GraphFusion(CHANNELS, NODES, **FORM)
    ours = drawn(module) | {'conv.norm.num_batches_tracked': torch.tensor(7)}
    theirs = LAYOUT.from_ours(ours)
    assert {k: tuple(v.shape) for k, v in theirs.items() if v.ndim} == {
        k: v for k, v in SHAPES.items() if not k.startswith('classifier.')
    }
    for key in ('conv_q1', 'conv_k1'):
        assert (theirs[f'{key}.weight'] == theirs[f'{key}.weight'][:1]).all()
    assert LAYOUT.anchor in theirs and LAYOUT.our_anchor not in theirs
    assert equal(LAYOUT.to_ours(theirs), ours)
    again = LAYOUT.from_ours(LAYOUT.to_ours(pim))
    changed = {key for key in pim if not torch.equal(again[key], pim[key])}
    assert changed == {f'conv_{x}1.{leaf}' for x in 'qk' for leaf in ('weight', 'bias')}
    module.load_state_dict(ours)
    head = {key: pim[key] for key in pim if key.startswith('classifier.')}
    assert agrees(module.double().eval(), theirs | head, nodes(), 1e-12)


@pytest.mark.parametrize('channels', [28, 3])
def test_any_width_goes_back(channels):
    """Also where the mean of so many equal rows would be rounded in float32."""
    state = drawn(GraphFusion(channels, NODES, **FORM))
    theirs = LAYOUT.from_ours(state)
    assert theirs['conv_q1.weight'].shape == (max(channels // 4, 1), channels, 1)
    assert equal(LAYOUT.to_ours(theirs), state)


@pytest.mark.parametrize(
    'options',
    [
        {'order': 'gcn_pool'},
        {'merge': 'mean'},
        {'pool': 'soft', 'num_supers': 5},
        {'gcn_norm': 'LN'},
        {'gcn_norm': None},
        {'order': 'gcn_pool', 'pool': 'avg'},
    ],
    ids=str,
)
def test_other_forms_are_not_written(options):
    state = GraphFusion(CHANNELS, NODES, **(FORM | options)).state_dict()
    with pytest.raises(ValueError, match="order='pool_gcn', pool='linear', merge='linear'"):
        LAYOUT.from_ours(state)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'grid_size': (4, 4)}, 'pool.weight'),  # 32 nodes
        ({'num_supers': 3}, 'pool.weight'),
        ({'embed_dims': 8}, 'conv'),
        ({'order': 'gcn_pool'}, 'conv.adjacency'),
        ({'adjacency': 'similarity'}, 'conv'),
    ],
    ids=str,
)
def test_a_file_of_another_form_is_refused(one_file, options, named):
    pretrained = {'type': 'Pretrained', 'checkpoint': one_file}
    neck = MGFF(**(NECK | options), graph_init_cfg=pretrained)
    with pytest.raises(CheckpointMismatchError, match=rf'GraphFusion: .*{named}'):
        neck.init_weights()


def test_a_file_without_a_combiner_is_refused(tmp_path):
    torch.save({'model': {'backbone.conv.weight': torch.ones(2)}}, tmp_path / 'other.pth')
    pretrained = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'other.pth')}
    with pytest.raises(CheckpointMismatchError, match='GraphFusion: none of the tensors'):
        MGFF(**NECK, graph_init_cfg=pretrained).init_weights()


def test_a_part_of_a_combiner_is_refused(graph_of_pim):
    del graph_of_pim['adj1']
    with pytest.raises(CheckpointMismatchError, match=r'missing \(conv.adjacency\)'):
        GraphFusion(CHANNELS, NODES, **FORM).load_state_dict(graph_of_pim)


def test_projections_before_the_combiner_are_reported(pim, tmp_path, log):
    pim = pim | {'proj_layer1.0.weight': torch.ones(CHANNELS, 4)}
    torch.save({'model': pim}, tmp_path / 'pim.pth')
    pretrained = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'pim.pth')}
    MGFF(**NECK, graph_init_cfg=pretrained).init_weights()
    reported = log()[0].partition('; unexpected: ')[2].split(', ')
    assert sorted(reported) == ['classifier.bias', 'classifier.weight', 'proj_layer1.0.weight']


def classifier(**backbone):
    backbone = {'type': 'mmvit_plugins.SwinTransformer', 'arch': ARCH, **backbone}
    cfg = hosts.classifier(backbone, CHANNELS, CLASSES)
    neck = {**NECK, 'in_channels': (8, 16, 32, 64), 'strides': (4, 8, 16, 32), 'grid_size': 4}
    cfg['neck'] = {'type': 'mmvit_plugins.MGFF', **neck, 'embed_dims': CHANNELS}
    return PRETRAIN.build(cfg)


def drawn(module):
    state = module.state_dict()
    return {k: draw(k, v.shape) if v.is_floating_point() else v for k, v in state.items()}


def test_a_whole_classifier_saves_and_loads(tmp_path, log):
    model = classifier()
    state = drawn(model)
    torch.save({'state_dict': state}, tmp_path / 'whole.pth')
    load_checkpoint(model, str(tmp_path / 'whole.pth'), strict=True)
    assert equal(model.state_dict(), state)
    assert log()[0].endswith('0 unexpected, layout: mmvit_plugins')


def test_a_backbone_alone_leaves_the_neck(tmp_path):
    """Its file has no graph, which is no error."""
    model = classifier()
    before = {k: v.clone() for k, v in model.state_dict().items() if k.startswith('neck.')}
    torch.save(drawn(SwinTransformer(ARCH)), tmp_path / 'swin.pth')
    load_checkpoint(model, str(tmp_path / 'swin.pth'))
    after = model.state_dict()
    assert equal({k: after[k] for k in before}, before)
    assert equal(
        {k.removeprefix('backbone.'): v for k, v in after.items() if k.startswith('backbone.')},
        drawn(SwinTransformer(ARCH)),
    )


def test_only_its_own_layout_touches_the_graph():
    state = drawn(classifier(out_indices=(0, 1, 2, 3)))
    neck = {k: v for k, v in state.items() if k.startswith('neck.')}
    theirs, names = convert_state(state, 'official')
    assert len(names) == 1 and names[0].startswith('official')
    assert equal({k: v for k, v in theirs.items() if k.startswith('neck.')}, neck)
    theirs, names = convert_state(state, 'pim')
    assert names == ['pim combiner'] and 'neck.graph.adj1' in theirs
    assert not [key for key in theirs if key.startswith(('neck.graph.conv.', 'neck.graph.pool'))]
    others = [key for key in state if not key.startswith('neck.graph.')]
    assert all(torch.equal(theirs[key], state[key]) for key in others)
    ours, names = convert_state(theirs)
    assert names == ['pim combiner'] and equal(ours, state)


def test_a_file_converts_both_ways(tmp_path):
    """The tool's function: beside a backbone, whose variant is checked."""
    state = drawn(AFFormer('tiny'))
    state = {f'backbone.{key}': value for key, value in state.items()}
    graph = drawn(GraphFusion(CHANNELS, NODES, **FORM))
    state |= {f'neck.graph.{key}': value for key, value in graph.items()}
    files = [tmp_path / name for name in ('ours.pth', 'pim.pth', 'again.pth')]
    torch.save({'state_dict': state}, files[0])
    assert 'to pim combiner' in convert_file(files[0], files[1], to='pim')
    assert 'from pim combiner' in convert_file(files[1], files[2])
    assert equal(torch.load(files[2], weights_only=True)['state_dict'], state)
