"""T2T-ViT files of the authors and of mmpretrain, of every kind, through every way in and back."""

import copy
import json
from functools import partial

import hosts
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hosts import equal
from mmengine.config import Config
from mmengine.runner import Runner, load_checkpoint
from mmpretrain import get_model
from mmpretrain.models import T2T_ViT
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.registry import MODELS as SEG
from mmseg.utils import register_all_modules
from recipe import DATA

from mmvit_plugins.checkpoint import (
    CheckpointMismatchError,
    convert_file,
    convert_state,
    read_checkpoint,
)
from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.models import T2TViT

register_all_modules()

OFFICIAL, MMPRETRAIN = CONVERTERS['T2TViT']
TINY = {
    'tokens_type': 'performer',
    'block': 'vit',
    'embed_dims': 32,
    'depths': (2,),
    'num_heads': 2,
    'mlp_ratio': 3,
}
KINDS = {
    'performer': TINY,
    'transformer': {**TINY, 'tokens_type': 'transformer'},
    'se': {**TINY, 'block': 'se'},
    'ghost': {**TINY, 'block': 'ghost'},
    'dense': {**TINY, 'block': 'dense', 'depths': (1, 2, 1)},
}


def draw(kind):
    """Draw a state of ours in which no two rows are alike."""
    state = T2TViT(KINDS[kind], img_size=32).state_dict()
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(value.shape, generator=generator) for key, value in state.items()}


def head(prefix='head.'):
    generator = torch.Generator().manual_seed(1)
    return {
        f'{prefix}weight': torch.randn(10, 32, generator=generator),
        f'{prefix}bias': torch.randn(10, generator=generator),
    }


def as_saved(state):
    """Wrap as the authors' script does, trained on several GPUs; the averaged weights count."""
    plain = {f'module.{key}': value + 1 for key, value in state.items()}
    average = {f'module.{key}': value for key, value in state.items()}
    return {'epoch': 309, 'state_dict': plain, 'state_dict_ema': average, 'metric': 71.7}


def backbone(kind, **options):
    return {'type': 'mmvit_plugins.T2TViT', 'arch': KINDS[kind], 'img_size': 32, **options}


def classifier(kind, num_classes=10, **options):
    vector = backbone(kind, out_type='cls_token', **options)
    return hosts.classifier(vector, 32, num_classes, pooled=False)


def by_init_cfg(file, kind):
    weights = {'type': 'Pretrained', 'checkpoint': str(file)}
    model = SEG.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': backbone(kind, init_cfg=weights),
            'decode_head': {
                'type': 'mmseg.FCNHead',
                'in_channels': 32,
                'channels': 8,
                'num_classes': 3,
            },
            'test_cfg': {'mode': 'whole'},
        }
    )
    model.init_weights()
    return model


def by_get_model(file, kind):
    return get_model(Config({'model': classifier(kind)}), pretrained=str(file))


def by_load_state_dict(file, kind):
    model = PRETRAIN.build(classifier(kind))
    model.load_state_dict(torch.load(file, weights_only=False))
    return model


def by_load_from(file, kind):
    runner = Runner(
        PRETRAIN.build(classifier(kind)),
        work_dir=str(file.parent / 'run'),
        load_from=str(file),
        default_hooks={'logger': None, 'checkpoint': None},
        experiment_name='test_t2t_checkpoint',
    )
    runner.load_or_resume()
    return runner.model


@pytest.mark.parametrize('load', [by_init_cfg, by_get_model, by_load_state_dict, by_load_from])
@pytest.mark.parametrize('kind', ['performer', 'transformer'])
@pytest.mark.parametrize('content', ['as saved', 'bare', 'ours'])
def test_every_way_in(load, kind, content, tmp_path):
    ours, file = draw(kind), tmp_path / 't2t.pth'
    official = OFFICIAL.from_ours(ours) | head()
    contents = {'as saved': as_saved(official), 'bare': official, 'ours': ours | head()}
    torch.save(contents[content], file)
    model = load(file, kind)
    assert equal(model.backbone.state_dict(), ours)
    if hasattr(model, 'head'):
        assert equal(model.head.state_dict(), head('fc.'))


@pytest.mark.parametrize('load', [by_init_cfg, by_get_model])
def test_a_model_of_mmpretrain(load, tmp_path):
    """Its file holds the whole classifier; a segmentor takes the backbone out of it."""
    ours = draw('transformer')
    state = {f'backbone.{key}': value for key, value in MMPRETRAIN.from_ours(ours).items()}
    state |= head('head.layers.head.')
    torch.save({'meta': {}, 'state_dict': state}, tmp_path / 'mm.pth')
    model = load(tmp_path / 'mm.pth', 'transformer')
    assert equal(model.backbone.state_dict(), ours)
    if hasattr(model, 'head'):
        assert equal(model.head.state_dict(), head('fc.'))
        mine = {f'backbone.{key}': value for key, value in ours.items()} | head('head.fc.')
        assert equal(convert_state(mine, 'mmpretrain')[0], state)


@pytest.mark.parametrize('kind', KINDS)
def test_both_ways_give_back_the_numbers(kind):
    ours = draw(kind)
    official = OFFICIAL.from_ours(ours)
    assert not any(key.startswith('stages') for key in official)
    assert equal(OFFICIAL.to_ours(official), ours)
    assert equal(OFFICIAL.from_ours(OFFICIAL.to_ours(official)), official)
    model = T2TViT(KINDS[kind], img_size=32)
    model.load_state_dict(official)
    assert equal(model.state_dict(), ours)


@pytest.mark.parametrize(
    ('name', 'arch'),
    [
        ('t2t_vit_7', '7'),
        ('t2t_vit_t_14', 't_14'),
        ('t2t_vit_14_se', '14_se'),
        ('t2t_vit_16_ghost', '16_ghost'),
        ('t2t_vit_dense', 'dense'),
    ],
)
def test_layout_is_that_of_the_published_code(name, arch):
    with np.load(DATA / f'{name}.npz') as data:
        shapes = json.loads(data['meta'].tobytes().decode())['shapes']
    official = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(shapes.items())}
    converted = OFFICIAL.to_ours(official)
    with torch.device('meta'):
        expected = T2TViT(arch).state_dict()
    assert converted.keys() == expected.keys() | {'head.weight', 'head.bias'}
    assert all(converted[key].shape == value.shape for key, value in expected.items())
    assert equal(OFFICIAL.from_ours(converted), official)


def test_where_the_rows_go():
    """Queries, keys and values in this order; patches as ``unfold`` cuts them."""
    ours = draw('performer')
    official = OFFICIAL.from_ours(ours)
    for leaf in ('weight', 'bias'):
        q, k, v = ours[f'stages.1.qkv.{leaf}'].split(64)
        kqv = official[f'tokens_to_token.attention2.kqv.{leaf}']
        assert torch.equal(kqv, torch.cat([k, q, v]))
    patches = torch.randn(2, 64, 5, 5)
    tokens = F.unfold(patches, 3, stride=2, padding=1).transpose(1, 2)
    weight = official['tokens_to_token.project.weight']
    expected = F.conv2d(patches, ours['stages.2.embed.weight'], stride=2, padding=1)
    torch.testing.assert_close((tokens @ weight.T).transpose(1, 2), expected.flatten(2))

    ours = draw('ghost')
    official = OFFICIAL.from_ours(ours)
    rows = [official[f'blocks.1.attn.{x}.weight'] for x in 'qkv']
    assert torch.equal(ours['stages.2.blocks.1.attn.qkv.weight'], torch.cat(rows))
    factors = [official[f'blocks.1.attn.cheap_operation_{x}.weight'].squeeze() for x in 'qkv']
    assert torch.equal(ours['stages.2.blocks.1.attn.cheap'], torch.stack(factors))
    factors = [official[f'blocks.1.mlp.cheap_operation{x}.weight'].squeeze() for x in '23']
    assert torch.equal(ours['stages.2.blocks.1.mlp.cheap'], torch.stack(factors))


def repair(model):
    """Give mmpretrain's attention the scales that it was meant to have."""
    for module in model.modules():
        if hasattr(module, 'v_shortcut') and hasattr(module, 'scaled_dot_product_attention'):
            width = module.input_dims if module.v_shortcut else module.head_dims
            module.scaled_dot_product_attention = partial(
                F.scaled_dot_product_attention, scale=width**-0.5
            )


def test_mmpretrains_model_agrees_once_repaired():
    ours = T2TViT(KINDS['transformer'], img_size=32, out_type='cls_token').eval()
    theirs = T2T_ViT(
        img_size=32,
        embed_dims=32,
        num_layers=2,
        layer_cfgs={'num_heads': 2, 'feedforward_channels': 96},
    )
    for param in theirs.parameters():
        torch.nn.init.normal_(param, std=0.2)
    ours.load_state_dict(theirs.state_dict())
    image = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        theirs.eval()
        wrong = theirs(image)[0]
        repair(theirs)
        expected = theirs(image)[0]
        out = ours(image)[0]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    assert (wrong - expected).abs().max() > 1e-2
    exported, names = convert_state(ours.state_dict(), 'mmpretrain')
    assert names == ['mmpretrain T2T_ViT']
    bare = {key.removeprefix('backbone.'): value for key, value in exported.items()}
    assert equal(bare, theirs.state_dict())


def test_the_report(tmp_path, log):
    ours, file = draw('se'), tmp_path / 'se.pth'
    torch.save(as_saved(OFFICIAL.from_ours(ours) | head()), file)
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(file)}
    model = T2TViT(KINDS['se'], img_size=32, init_cfg=init_cfg)
    model.init_weights()
    assert equal(model.state_dict(), ours)
    assert 'checkpoint: state_dict_ema taken, of state_dict_ema, state_dict' in log()
    assert (
        f'T2TViT: {len(ours)} of {len(ours)} tensors used, 0 resized, 0 missing, 2 unexpected, '
        'layout: official T2T-ViT; unexpected: head.weight, head.bias' in log()
    )


@pytest.mark.parametrize('layout', [OFFICIAL, MMPRETRAIN], ids=lambda layout: layout.name)
def test_a_table_for_another_size_is_resized(layout, log):
    ours = draw('transformer')
    model = PRETRAIN.build(classifier('transformer', img_size=64))
    model.load_state_dict(layout.from_ours(ours), strict=False)
    state = model.backbone.state_dict()
    grid = ours['stages.2.pos_embed'][:, 1:].unflatten(1, (2, 2)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (4, 4), mode='bicubic', align_corners=False)
    table = torch.cat((ours['stages.2.pos_embed'][:, :1], grid.flatten(2).transpose(1, 2)), dim=1)
    torch.testing.assert_close(state['stages.2.pos_embed'], table)
    assert equal(state, ours | {'stages.2.pos_embed': state['stages.2.pos_embed']})
    (line,) = (line for line in log() if line.startswith('T2TViT:'))
    assert f', 1 resized, 0 missing, 0 unexpected, layout: {layout.name}' in line


def test_another_number_of_classes_keeps_the_new_head(tmp_path):
    ours = draw('performer')
    torch.save(as_saved(OFFICIAL.from_ours(ours) | head()), tmp_path / 't2t.pth')
    model = PRETRAIN.build(classifier('performer', num_classes=7))
    before = copy.deepcopy(model.head.state_dict())
    load_checkpoint(model, str(tmp_path / 't2t.pth'), map_location='cpu')
    assert equal(model.backbone.state_dict(), ours)
    assert equal(model.head.state_dict(), before)


@pytest.mark.parametrize(
    ('held', 'wanted', 'img_size', 'named'),
    [
        ('7', '10', 224, '7'),
        ('t_14', '14', 384, 't_14'),
        ('16_ghost', '14', 224, '16_ghost'),
        ('dense', '7', 224, 'dense'),
        ('14_resnext', '14_se', 224, '14'),  # no tensor tells the number of heads
    ],
)
def test_another_variant_is_named(held, wanted, img_size, named):
    with torch.device('meta'):
        state = OFFICIAL.from_ours(T2TViT(held, img_size=img_size).state_dict())
        model = T2TViT(wanted)
    with pytest.raises(CheckpointMismatchError, match=f"variant '{named}'.*set arch='{named}'"):
        model.load_state_dict(state)


def without(state, part):
    return {key: value for key, value in state.items() if part not in key}


DAMAGES = {
    'a ghost block in part': (
        'ghost',
        lambda state: without(state, 'blocks.0.attn.k.'),
        r'1 tensors are missing \(stages\.2\.blocks\.0\.attn\.qkv\.weight\)',
    ),
    'unequal parts of a ghost block': (
        'ghost',
        lambda state: state | {'blocks.1.attn.v.weight': torch.ones(8, 32)},
        r'do not belong to one block: blocks\.1\.attn\.q\.weight \(16, 32\), blocks',
    ),
    'a projection of other patches': (
        'performer',
        lambda state: state | {'tokens_to_token.project.weight': torch.ones(32, 64)},
        r'tokens_to_token\.project\.weight has the shape \(32, 64\), but \(D, 9 C\) is needed',
    ),
    'a table that is not square': (
        'performer',
        lambda state: state | {'pos_embed': torch.ones(1, 7, 32)},
        r'stages\.2\.pos_embed: \(1, 7, 32\) in the file',
    ),
    'parameters that train alone': (
        'performer',
        lambda state: {k: v for k, v in state.items() if not k.endswith('.w')},
        'fits no variant: it lacks the random features `w`',
    ),
    'no class token': (
        'transformer',
        lambda state: without(state, 'cls_token'),
        'fits no variant: it was trained without a class token',
    ),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_files_are_refused(damage):
    kind, change, reason = DAMAGES[damage]
    model = T2TViT(KINDS[kind], img_size=32)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointMismatchError, match=reason) as caught:
        model.load_state_dict(change(OFFICIAL.from_ours(draw(kind))))
    assert '\n' not in str(caught.value)
    assert equal(model.state_dict(), before)


def test_what_mmpretrain_trained_without_a_class_token_is_refused():
    settings = {'num_heads': 2, 'feedforward_channels': 96}
    theirs = T2T_ViT(
        32, embed_dims=32, num_layers=2, layer_cfgs=settings, out_type='raw', with_cls_token=False
    )
    with pytest.raises(CheckpointMismatchError, match='trained without a class token'):
        T2TViT(KINDS['transformer'], img_size=32).load_state_dict(theirs.state_dict())


@pytest.mark.parametrize(
    ('arch', 'to', 'reason'),
    [
        ({**TINY, 'tokens_type': 'convolution'}, 'official', 'cannot run convolution tokens'),
        ({**KINDS['ghost'], 'mlp_ratio': 4}, 'official', r'blocks\.0\.mlp\.cheap: .*mlp_ratio=3'),
        (KINDS['performer'], 'mmpretrain', r'stages\.0\.features: mmpretrain.*plain blocks only'),
        ({**KINDS['se'], 'tokens_type': 'transformer'}, 'mmpretrain', r'attn\.se\.fc1\.weight: '),
        ({**KINDS['ghost'], 'tokens_type': 'transformer'}, 'mmpretrain', r'attn\.cheap: mm'),
        ({**KINDS['dense'], 'tokens_type': 'transformer'}, 'mmpretrain', r'dense_linear\.weight: '),
    ],
)
def test_what_others_cannot_run_is_not_exported(arch, to, reason):
    with torch.device('meta'):
        state = T2TViT(arch, img_size=32).state_dict()
    with pytest.raises(ValueError, match=reason):
        convert_state(state, to)


def test_files_convert_there_and_back(tmp_path):
    with torch.device('meta'):
        shapes = OFFICIAL.from_ours(T2TViT('7', img_size=384).state_dict())
    state = {
        key: torch.full(value.shape, float(i)) for i, (key, value) in enumerate(shapes.items())
    }
    torch.save({'state_dict_ema': state}, tmp_path / 'official.pth')
    line = convert_file(tmp_path / 'official.pth', tmp_path / 'ours.pth')
    assert "T2TViT '7'" in line and 'from official T2T-ViT' in line
    convert_file(tmp_path / 'ours.pth', tmp_path / 'back.pth', 'official')
    assert equal(read_checkpoint(tmp_path / 'back.pth')['state_dict'], state)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_trained_classifier_goes_back_to_the_authors_names(prefix):
    ours = draw('performer')
    trained = {f'{prefix}backbone.{key}': value for key, value in ours.items()}
    exported, names = convert_state(trained | head(f'{prefix}head.fc.'), 'official')
    stripped = {key.removeprefix(prefix): value for key, value in exported.items()}
    assert equal(stripped, OFFICIAL.from_ours(ours) | head())
    assert names == ['official T2T-ViT']
