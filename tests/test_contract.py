"""The contract of ``models/backbones/base.py`` for every backbone; a new one enters CASES."""

import copy
import inspect

import pytest
import torch
from torch import nn

from mmvit_plugins.models import AFFormer, LSGAViT, SGFormer, SwinTransformer, T2TViT

# A small variant of each backbone, so that a test takes a fraction of a second.
CASES = {
    'AFFormer': (
        AFFormer,
        {
            'arch': {
                'embed_dims': (8, 16, 16, 24),
                'depths': (1, 1, 2, 1),
                'num_heads': 8,
                'mlp_ratio': 2,
                'windows': {3: 2, 5: 3, 7: 3},
            }
        },
    ),
    'SGFormer': (
        SGFormer,
        {
            'arch': {
                'embed_dims': (8, 16, 16, 24),
                'num_heads': (2, 2, 4, 3),
                'depths': (2, 2, 4, 1),
                'mlp_ratio': 2,
            }
        },
    ),
    'SwinTransformer': (
        SwinTransformer,
        {
            'arch': {
                'embed_dims': 8,
                'depths': (2, 2, 2, 1),
                'num_heads': (1, 2, 2, 4),
                'window_size': 7,
            }
        },
    ),
    'T2TViT': (
        T2TViT,
        {
            'arch': {
                'tokens_type': 'performer',
                'block': 'vit',
                'embed_dims': 16,
                'depths': (3,),
                'num_heads': 2,
                'mlp_ratio': 2,
            }
        },
    ),
    'LSGAViT': (
        LSGAViT,
        {
            'in_channels': 3,
            'embed_dims': 8,
            'depths': (1, 1, 2),
            'num_heads': (2, 2, 4),
            'position': 'spatial',
            'out_indices': (0, 1, 2),
            'drop_path_rate': 0.0,
        },
    ),
}
# What is traced with symbolic sizes is no deeper than each kind of block in each stage asks for.
SHALLOW = {'SGFormer': (2, 2, 2, 1), 'SwinTransformer': (2, 1, 1, 1)}
# Those made for windows of a scene, not pictures, see every side divided by this.
SHRINK = {'LSGAViT': 8}


# Those with batch norms, whose arguments the others do not have.
BATCH_NORM = [
    name for name, (cls, _) in CASES.items() if 'norm_cfg' in inspect.signature(cls).parameters
]


# Those with named variants.
NAMED = [name for name, (cls, _) in CASES.items() if cls.archs]


def maker(name):
    cls, arguments = CASES[name]
    shrink = SHRINK.get(name, 1)

    def make(**options):
        torch.manual_seed(0)
        return cls(**(arguments | options))

    def size(*sides):
        return tuple(-(-side // shrink) for side in sides)

    def draw(batch, channels, *sides, **options):
        return torch.randn(batch, channels, *size(*sides), **options)

    make.cls, make.arguments, make.size, make.draw = cls, arguments, size, draw
    return make


@pytest.fixture(params=CASES, name='make')
def make_fixture(request):
    return maker(request.param)


@pytest.fixture(params=NAMED, name='make_named')
def make_named_fixture(request):
    return maker(request.param)


@pytest.fixture(params=BATCH_NORM, name='make_bn')
def make_bn_fixture(request):
    return maker(request.param)


@pytest.fixture
def forgetful_compiler():
    """Compile as if for the first time: sizes that were seen to change would become symbols."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def relative(a, b):
    return float((a.float() - b.float()).norm() / b.float().norm())


@pytest.mark.parametrize('size', [(32, 32), (64, 64), (65, 97), (33, 130), (200, 136)])
def test_output_sizes_follow_the_strides_rounded_up(make, size):
    model = make().eval()
    x = make.draw(2, 3, *size)
    size = x.shape[2:]
    outs = model(x)
    assert isinstance(outs, tuple) and len(outs) == len(model.out_channels) == len(model.strides)
    for out, channels, stride in zip(outs, model.out_channels, model.strides, strict=True):
        expected = (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert tuple(out.shape) == expected
        assert torch.isfinite(out).all()


@pytest.mark.slow
def test_named_variants_build_and_state_their_channels(make_named):
    for arch in make_named.cls.archs:
        model = make_named.cls(arch=arch).eval()
        outs = model(make_named.draw(1, 3, 64, 64))
        assert tuple(out.shape[1] for out in outs) == model.out_channels
        assert tuple(64 // out.shape[2] for out in outs) == model.strides


def test_out_indices_choose_maps(make):
    every = make().eval()
    some = make(out_indices=(1, -1)).eval()
    x = make.draw(1, 3, 64, 64)
    outs = every(x)
    for got, index in zip(some(x), (1, len(outs) - 1), strict=True):
        assert torch.equal(got, outs[index])
    assert some.out_channels == (every.out_channels[1], every.out_channels[-1])
    assert make(out_indices=2).out_indices == (2,)


def test_in_channels(make):
    outs = make(in_channels=5).eval()(make.draw(1, 5, 64, 64))
    assert all(torch.isfinite(out).all() for out in outs)


def test_every_parameter_gets_a_gradient(make):
    model = make().train()
    sum(out.square().mean() for out in model(make.draw(2, 3, 65, 97))).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


def test_train_and_eval_return_self(make):
    model = make(frozen_stages=1)
    assert model.train() is model and model.eval() is model


def test_frozen_stages_neither_learn_nor_drift(make):
    stages = len(make().stage_modules()) - 1
    for frozen in range(-1, stages + 1):
        model = make(frozen_stages=frozen).train()
        before = copy.deepcopy(model.state_dict())
        loss = sum(out.sum() for out in model(make.draw(2, 3, 64, 64)))
        if frozen < stages:
            loss.backward()
        for i, module in enumerate(model.stage_modules()):
            expected = i > frozen
            assert all(p.requires_grad is expected for p in module.parameters())
            assert all((p.grad is not None) is expected for p in module.parameters())
            assert module.training is expected
        frozen_names = [
            f'{name}.'
            for name, module in model.named_modules()
            if any(module is m for m in model.stage_modules()[: frozen + 1])
        ]
        for name, value in model.state_dict().items():
            if name.startswith(tuple(frozen_names)):
                assert torch.equal(value, before[name]), name


def test_norm_eval_keeps_the_statistics(make_bn):
    def drift(model):
        before = copy.deepcopy(dict(model.named_buffers()))
        model.train()(make_bn.draw(2, 3, 64, 64))
        return [n for n, b in model.named_buffers() if not torch.equal(b, before[n])]

    assert drift(make_bn(norm_eval=False))
    assert not drift(make_bn(norm_eval=True))


def test_drop_path_acts_in_training_only_and_grows_with_depth(make):
    model = make(drop_path_rate=0.9)
    rates = [m.drop_prob for m in model.modules() if hasattr(m, 'drop_prob')]
    assert rates == sorted(rates) and rates[-1] == pytest.approx(0.9)
    x = make.draw(4, 3, 64, 64)
    assert torch.equal(model.eval()(x)[-1], make().eval()(x)[-1])
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # so that only drop path tells the two passes apart
    assert not torch.equal(model(x)[-1], model(x)[-1])


def test_checkpointing_gives_the_same_gradients(make):
    x = make.draw(2, 3, 64, 64)
    grads = []
    for with_cp in (False, True):
        model = make(with_cp=with_cp, drop_path_rate=0.5).train()
        torch.manual_seed(1)
        sum(out.square().mean() for out in model(x)).backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
        buffers = dict(model.named_buffers())
        if with_cp:  # a recomputed batch norm would count its batch twice
            counts = {int(b) for n, b in buffers.items() if n.endswith('num_batches_tracked')}
            assert counts <= {1}
    for name, grad in grads[0].items():
        assert torch.allclose(grad, grads[1][name], atol=1e-6), name


def test_checkpointing_saves_memory(make):
    """Count what autograd keeps between the passes."""
    kept = []
    for with_cp in (False, True):
        model = make(with_cp=with_cp).train()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t
        ):
            model(make.draw(2, 3, 64, 64))
        kept.append(sum(sizes))
    assert kept[1] < kept[0]


def test_layer_depths_rise_from_stem_to_head(make):
    model = make()
    _, total = model.get_layer_depth('', 'backbone.')
    assert model.get_layer_depth('head.fc.weight', 'backbone.') == (total - 1, total)
    depths = [
        [model.get_layer_depth(f'backbone.{name}', 'backbone.')[0] for name, p in named if p in own]
        for own in map(_parameters, model.stage_modules())
        for named in [list(model.named_parameters())]
    ]
    assert set(depths[0]) == {0}
    assert {depth for stage in depths for depth in stage} == set(range(total - 1))
    assert all(max(a) < min(b) for a, b in zip(depths, depths[1:], strict=False))


def _parameters(module):
    return set(module.parameters())


def test_no_weight_decay_names_exist(make):
    model = make()
    names = model.no_weight_decay()
    parameters = dict(model.named_parameters())
    assert names and names < set(parameters)
    assert all(parameters[name].ndim <= 1 for name in names)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_stays_close_to_float32(make, dtype):
    model = make().eval()
    x = make.draw(2, 3, 65, 97)
    reference = model(x)
    with torch.autocast('cpu', dtype=dtype):
        outs = model(x)
    for out, ref in zip(outs, reference, strict=True):
        assert torch.isfinite(out).all()
        assert relative(out, ref) < (0.05 if dtype is torch.bfloat16 else 0.01)


def test_autocast_trains(make):
    model = make().train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = sum(out.float().square().mean() for out in model(make.draw(2, 3, 64, 64)))
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_channels_last_input(make):
    model = make().eval()
    x = make.draw(2, 3, 65, 97)
    for a, b in zip(model(x), model(x.to(memory_format=torch.channels_last)), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def learn(model, x):
    """A backward pass; nothing may be left over of what inference mode made."""
    model.zero_grad()
    sum(out.square().mean() for out in model(x)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_inference_mode_leaves_a_model_that_trains(make):
    model, x = make().eval(), make.draw(2, 3, 65, 97)
    grads = learn(copy.deepcopy(model), x)
    with torch.no_grad():
        expected = copy.deepcopy(model)(x)
    with torch.inference_mode():
        for _ in range(2):  # the second time with what the first one cached
            assert all(map(torch.equal, model(x), expected))
    learnt = learn(model, x)  # at once, as train() would clear the caches
    assert all(torch.equal(learnt[name], grad) for name, grad in grads.items())
    with torch.inference_mode():
        assert all(map(torch.equal, model(x), expected))


def test_built_in_inference_mode(make):
    """Its weights have no version, which the caches look at; it runs, and with others it trains."""
    expected, x = make().eval(), make.draw(2, 3, 65, 97)
    with torch.inference_mode():
        model = make().eval()
        for _ in range(2):
            assert all(map(torch.equal, model(x), expected(x)))
        for p in model.parameters():
            p.mul_(2)  # which nothing can see
        doubled = model(x)
    with torch.no_grad():
        for p in expected.parameters():
            p.mul_(2)
        assert all(map(torch.equal, model(x), expected(x)))
        assert all(map(torch.equal, doubled, expected(x)))
    model.load_state_dict(copy.deepcopy(expected.state_dict()), assign=True)
    for (name, p), q in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert not p.is_inference(), name
        p.requires_grad_(q.requires_grad)
    grads = learn(expected, x)
    learnt = learn(model, x)
    assert all(torch.equal(learnt[name], grad) for name, grad in grads.items())


@pytest.mark.slow
def test_compiles_into_one_graph(make, forgetful_compiler):
    model = make().eval()
    x = make.draw(1, 3, 64, 96)
    compiled = torch.compile(model, fullgraph=True, backend='eager')  # cheap; breaks raise alike
    for a, b in zip(compiled(x), model(x), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    sum(out.sum() for out in torch.compile(model.train(), fullgraph=True, backend='eager')(x))


@pytest.mark.slow
def test_exports(make):
    """What is exported computes the same on another picture of the size."""
    model = make().double().eval()
    exported = torch.export.export(model, (make.draw(1, 3, 65, 97, dtype=torch.float64),))
    x = make.draw(1, 3, 65, 97, dtype=torch.float64)
    for a, b in zip(exported.module()(x), model(x), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_compiles_for_any_size_at_once(make, forgetful_compiler):
    """Tracing with symbolic sizes takes long; in float64, so that no near ties are broken anew."""
    options = {}
    if make.cls.__name__ in SHALLOW:
        options['arch'] = make.arguments['arch'] | {'depths': SHALLOW[make.cls.__name__]}
    model = make(**options).double().eval()
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=count)
    with torch.no_grad():
        for size in ((240, 256), (250, 275), (288, 240)):
            x = make.draw(2, 3, *size, dtype=torch.float64)
            for a, b in zip(compiled(x), model(x), strict=True):
                assert torch.allclose(a, b, atol=1e-8)
    assert len(graphs) == 1


def test_state_dict_round_trip(make, tmp_path):
    model = make().eval()
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    torch.manual_seed(7)
    other = make.cls(**make.arguments).eval()
    x = make.draw(1, 3, 64, 64)
    assert not torch.equal(other(x)[-1], model(x)[-1])
    other.load_state_dict(torch.load(tmp_path / 'weights.pth', weights_only=True))
    assert torch.equal(other(x)[-1], model(x)[-1])
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x)[-1], model(x)[-1])


def test_arguments_are_left_alone(make):
    options = copy.deepcopy(make.arguments) | {'out_indices': [0, 1]}
    if 'norm_cfg' in inspect.signature(make.cls).parameters:
        options['norm_cfg'] = {'type': 'BN'}
    copies = copy.deepcopy(options)
    x = make.draw(1, 3, 64, 64)
    kept = x.clone()
    make.cls(**options)(x)
    assert options == copies and torch.equal(x, kept)


@pytest.mark.parametrize(
    ('options', 'allowed'),
    [
        ({'out_indices': (0, 9)}, 'ascending stages of 0..'),
        ({'out_indices': ()}, 'ascending stages of 0..'),
        ({'out_indices': (2, 1)}, 'ascending stages of 0..'),
        ({'in_channels': 0}, 'positive integer'),
        ({'frozen_stages': 9}, '-1..'),
        ({'drop_path_rate': 1.5}, r'\[0, 1\)'),
    ],
)
def test_wrong_arguments_name_the_allowed_values(make, options, allowed):
    with pytest.raises(ValueError, match=allowed):
        make(**options)


def test_wrong_variants_name_the_allowed_ones(make_named):
    with pytest.raises(ValueError, match=sorted(make_named.cls.archs)[0]):
        make_named(arch='huge')
    with pytest.raises(ValueError, match='needs'):
        make_named(arch={'embed_dims': (8, 16)})


def test_unknown_norm_names_the_allowed_ones(make_bn):
    with pytest.raises(ValueError, match=r"\['BN', 'SyncBN'\]"):
        make_bn(norm_cfg={'type': 'IN'})


def test_unknown_arguments_are_refused(make):
    with pytest.raises(TypeError, match='dephts'):
        make(dephts=(1, 1, 1, 1))


@pytest.mark.parametrize('shape', [(1, 5, 64, 64), (3, 64, 64), (1, 3, 0, 64), (1, 3, 64, 0)])
def test_wrong_input_is_refused_in_a_sentence(make, shape):
    with pytest.raises(ValueError, match=r'\(N, 3, H, W\)'):
        make()(torch.zeros(shape))


def test_small_input_works_or_is_refused(make):
    model = make().eval()
    for size in (1, 2, 7, 31):
        x = torch.randn(1, 3, size, size)
        if size < model.min_size:
            with pytest.raises(ValueError, match='H and W >='):
                model(x)
        else:
            assert all(torch.isfinite(out).all() for out in model(x))


def test_frozen_batch_norm_needs_no_gradient(make_bn):
    model = make_bn(norm_cfg={'type': 'BN', 'requires_grad': False})
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(p.requires_grad for m in norms for p in m.parameters())
