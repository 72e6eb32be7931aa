"""Layer-wise decay: the rate of every parameter in the hosts' models, alone and with the rest."""

import logging

import hosts
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import CosineAnnealingLR, LinearLR, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.registry import MODELS as SEG
from mmseg.utils import register_all_modules
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmvit_plugins.engine import LayerDecayOptimWrapperConstructor
from mmvit_plugins.errors import UserError
from mmvit_plugins.models import SGFormer

register_all_modules()

BACKBONE = {
    'type': 'mmvit_plugins.SGFormer',
    'arch': {
        'embed_dims': (8, 16, 24, 32),
        'num_heads': (2, 2, 4, 4),
        'depths': (2, 4, 2, 1),
        'mlp_ratio': 2,
    },
    'img_size': 32,
}
# Nine blocks: depth 0 is the stem, 10 what follows the backbone. Counted by hand.
DEPTHS = {
    'stem.': 0,
    'stages.0.blocks.0.': 1,
    'stages.0.blocks.1.': 2,
    'stages.0.norm.': 2,
    'stages.1.embed.': 3,
    'stages.1.blocks.0.': 3,
    'stages.1.blocks.1.': 4,
    'stages.1.blocks.2.': 5,
    'stages.1.blocks.3.': 6,
    'stages.1.norm.': 6,
    'stages.2.embed.': 7,
    'stages.2.blocks.0.': 7,
    'stages.2.blocks.1.': 8,
    'stages.2.norm.': 8,
    'stages.3.embed.': 9,
    'stages.3.blocks.0.': 9,
    'stages.3.norm.': 9,
}


def segmentor(**options):
    return SEG.build(hosts.segmentor({**BACKBONE, **options}, (8, 16, 24, 32)))


def classifier(backbone=None, in_channels=32):
    backbone = backbone or {**BACKBONE, 'out_indices': (3,)}
    return PRETRAIN.build(hosts.classifier(backbone, in_channels, 4, pooled=False))


def bare():
    return SGFormer(**{key: value for key, value in BACKBONE.items() if key != 'type'})


OURS = 'mmvit_plugins.LayerDecayOptimWrapperConstructor'


def build(model, optimizer=None, constructor=OURS, **options):
    """Build from a config, as a runner of mmseg does; rates halve at each layer."""
    config = {
        'constructor': constructor,
        'optimizer': optimizer or {'type': 'AdamW', 'lr': 1.0, 'weight_decay': 0.1},
        'paramwise_cfg': {'layer_decay_rate': 0.5, **options},
    }
    with DefaultScope.overwrite_default_scope('mmseg'):
        return build_optim_wrapper(model, config)


def settings(wrapper, model, *names):
    """Look up what each parameter is optimized with, by name."""
    groups = wrapper.optimizer.param_groups
    found = {id(p): tuple(g[name] for name in names) for g in groups for p in g['params']}
    assert len(found) == sum(len(group['params']) for group in groups)
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


def expected(name, prefix='backbone.'):
    if not name.startswith(prefix):
        return 1.0
    (depth,) = (d for part, d in DEPTHS.items() if name[len(prefix) :].startswith(part))
    return 0.5 ** (10 - depth)


@pytest.fixture
def process_group():
    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize('make', [segmentor, classifier, bare])
def test_rates_in_models_of_every_host(make):
    model = make()
    rates = settings(build(model), model, 'lr')
    prefix = '' if make is bare else 'backbone.'
    assert rates == {name: (expected(name, prefix),) for name, _ in model.named_parameters()}
    assert {lr for (lr,) in rates.values()} >= {0.5**k for k in range(1, 11)}


@pytest.mark.parametrize('part', ['the model', 'its backbone'])
def test_rates_in_a_distributed_model(part, process_group):
    model = segmentor()
    names = dict(model.named_parameters())
    wrapped = DistributedDataParallel(model) if part == 'the model' else model
    if part == 'its backbone':  # as mmengine's MMSeparateDistributedDataParallel
        model.backbone = DistributedDataParallel(model.backbone)
    wrapper = build(wrapped)
    found = {id(p): g['lr'] for g in wrapper.optimizer.param_groups for p in g['params']}
    assert {name: found[id(param)] for name, param in names.items()} == {
        name: expected(name) for name in names
    }


@pytest.mark.parametrize('backbone', ['SGFormer', 'VisionTransformer'])
def test_equals_mmpretrains_constructor_where_that_serves(backbone):
    vit = {
        'type': 'mmpretrain.VisionTransformer',
        'arch': {
            'embed_dims': 32,
            'num_layers': 3,
            'num_heads': 2,
            'feedforward_channels': 64,
        },
        'img_size': 32,
    }
    model = classifier(vit if backbone == 'VisionTransformer' else None)
    options = {
        'layer_decay_rate': 0.65,
        'norm_decay_mult': 0.0,
        'flat_decay_mult': 0.0,
        'bias_decay_mult': 0.5,
        'custom_keys': {'.cls_token': {'decay_mult': 0.0}, '.pos_embed': {'decay_mult': 0.0}},
    }
    theirs = 'mmpretrain.LearningRateDecayOptimWrapperConstructor'
    ours, host = (
        settings(wrapper, model, 'lr', 'weight_decay')
        for wrapper in (build(model, **options), build(model, constructor=theirs, **options))
    )
    assert ours == host
    assert ours.keys() == dict(model.named_parameters()).keys()


def test_multiplies_with_the_settings_of_mmengine():
    model = segmentor()
    wrapper = build(
        model,
        norm_decay_mult=0.0,
        bias_lr_mult=2.0,
        custom_keys={
            'decode_head': {'lr_mult': 10.0},
            'stages.3.blocks': {'lr_mult': 0.5, 'decay_mult': 3.0},
        },
    )
    found = settings(wrapper, model, 'lr', 'weight_decay')
    for name, value in {
        'decode_head.conv_seg.bias': (10.0, 0.1),
        'backbone.stages.3.blocks.0.attn.proj.bias': (0.5 * 0.5, 0.1 * 3.0),
        'backbone.stages.3.norm.weight': (0.5, 0.0),
        'backbone.stages.2.blocks.1.attn.proj.weight': (0.25, 0.1),
        'backbone.stages.2.blocks.1.attn.proj.bias': (2 * 0.25, 0.1),
    }.items():
        assert found[name] == pytest.approx(value), name


def test_frozen_parameters_are_left_out():
    model = segmentor(frozen_stages=2)
    rates = settings(build(model), model, 'lr')
    frozen = ('backbone.stem.', 'backbone.stages.0.', 'backbone.stages.1.')
    trained = [name for name, _ in model.named_parameters() if not name.startswith(frozen)]
    assert rates == {name: (expected(name),) for name in trained}


def test_a_group_for_each_rate_and_decay_steps_as_its_rate_says():
    model = bare()
    wrapper = build(model, {'type': 'SGD', 'lr': 1.0, 'weight_decay': 0.0}, norm_decay_mult=0.0)
    kinds = set(settings(wrapper, model, 'lr').values())
    assert len(wrapper.param_groups) - 1 <= 2 * len(kinds) == 20  # mmengine adds one of its own
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    wrapper.step()
    for name, param in model.named_parameters():
        step = torch.full_like(param, expected(name, ''))
        torch.testing.assert_close(before[name] - param, step, rtol=0, atol=1e-6)


def test_schedules_scale_every_layer_alike():
    model = segmentor()
    wrapper = build(model, {'type': 'SGD', 'lr': 0.2})
    schedulers = [
        LinearLR(wrapper, start_factor=0.1, begin=0, end=3),
        CosineAnnealingLR(wrapper, T_max=3, begin=3, end=7, eta_min_ratio=0.01),
    ]
    seen = []
    for _ in range(7):
        rates = settings(wrapper, model, 'lr')
        (base,) = wrapper.get_lr()['base_lr']
        assert rates == {n: (pytest.approx(base * expected(n)),) for n in rates}
        seen.append(base)
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    assert seen[0] == pytest.approx(0.02) and max(seen) == pytest.approx(0.2)
    assert wrapper.get_lr()['base_lr'] == [pytest.approx(0.002)]


def test_tied_weights_need_bypass_duplicate():
    model = nn.Module()
    model.head, model.backbone = nn.Linear(8, 8), bare()
    model.tied = nn.Linear(8, 8)
    model.tied.weight = model.head.weight
    with pytest.raises(UserError, match='tied weights.*bypass_duplicate=True'):
        build(model)
    rates = settings(build(model, bypass_duplicate=True), model, 'lr')
    assert rates['head.weight'] == rates['tied.bias'] == (1.0,)
    assert rates.keys() == dict(model.named_parameters()).keys()


def test_the_rates_are_logged_once(caplog):
    logger = MMLogger.get_instance('test_optim', log_level='INFO')
    MMLogger._instance_dict.move_to_end('test_optim')
    logger.addHandler(caplog.handler)
    caplog.set_level(logging.INFO)
    build(segmentor(), {'type': 'SGD', 'lr': 0.1})
    logger.removeHandler(caplog.handler)
    (line,) = (r.getMessage() for r in caplog.records if 'layer-wise' in r.getMessage())
    assert 'layer-wise decay by 0.5' in line
    assert 'backbone layer 0: 9.766e-05, backbone layer 1: 0.0001953,' in line
    assert 'backbone layer 9: 0.05, the rest: 0.1; 11 groups' in line


@pytest.mark.parametrize('rate', [0, -0.5, 1.5, float('nan'), '0.9', None])
def test_a_wrong_rate_is_refused(rate):
    with pytest.raises(UserError, match=r'layer_decay_rate, a number in \(0, 1\]'):
        build(bare(), layer_decay_rate=rate)


def test_settings_of_another_constructor_are_refused():
    """As mmseg's and mmdet's name them."""
    config = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
    with pytest.raises(UserError, match=r"layer_decay_rate.*\['decay_rate', 'num_layers'\]"):
        LayerDecayOptimWrapperConstructor(config, {'num_layers': 12, 'decay_rate': 0.9})
    with pytest.raises(UserError, match=r'layer_decay_rate.*found \[\]'):
        LayerDecayOptimWrapperConstructor(config)
    with pytest.raises(UserError, match='the optimizer needs lr'):
        LayerDecayOptimWrapperConstructor({'optimizer': {'type': 'SGD'}}, {'layer_decay_rate': 0.9})


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (lambda: classifier({'type': 'mmpretrain.LeNet5'}), 'mmpretrain.LeNet5'),
        (lambda: nn.Sequential(nn.Linear(2, 2)), 'torch.Sequential'),
    ],
)
def test_a_backbone_that_does_not_tell_depths_is_named(make, name):
    with pytest.raises(UserError, match=f'{name} has no get_layer_depth') as error:
        build(make())
    assert '\n' not in str(error.value)
