"""The authors' SG-Former files, as their training script saves them, through every way in."""

import argparse
import copy

import hosts
import pytest
import torch
import torch.nn.functional as F
from hosts import equal
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import Runner, load_checkpoint
from mmpretrain import get_model
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.registry import MODELS as SEG
from mmseg.utils import register_all_modules
from recipe import Golden

from mmvit_plugins.checkpoint import (
    CheckpointMismatchError,
    convert_file,
    convert_state,
    read_checkpoint,
)
from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.models import SGFormer

register_all_modules()

(LAYOUT,) = CONVERTERS['SGFormer']
# Two blocks of each kind where there can be two; a last stage whose block 1 is no self-guided one.
ARCH = {
    'embed_dims': (8, 16, 24, 32),
    'num_heads': (2, 2, 4, 4),
    'depths': (2, 4, 2, 2),
    'mlp_ratio': 2,
}
BACKBONE = {'type': 'mmvit_plugins.SGFormer', 'arch': ARCH, 'img_size': 32}


@pytest.fixture(scope='module')
def ours():
    """Our state; every number drawn, so that no two rows are alike."""
    torch.manual_seed(0)
    state = SGFormer(ARCH, img_size=32).state_dict()
    return {key: torch.randn_like(value) for key, value in state.items()}


@pytest.fixture(scope='module')
def official(ours):
    """The same weights as the authors name them, with a head for ten classes."""
    head = {'head.weight': torch.randn(10, 32), 'head.bias': torch.randn(10)}
    return LAYOUT.from_ours(ours) | head


@pytest.fixture
def file(official, tmp_path):
    """A file as the authors' script saves it; the weights that count are the averaged ones."""
    path = tmp_path / 'SG-Former.pth'
    torch.save(
        {
            'epoch': 309,
            'arch': 'SGFormer_S',
            'args': argparse.Namespace(lr=1e-3, amp=True, mean=None, opt_betas=[0.9, 0.999]),
            'state_dict': {key: value + 1 for key, value in official.items()},
            'state_dict_ema': official,
            'metric': 83.2,
            'optimizer': {'state': {0: {'step': 1}}, 'param_groups': [{'lr': 1e-5}]},
        },
        path,
    )
    return path


def classifier(num_classes=10, **options):
    return hosts.classifier({**BACKBONE, 'out_indices': (3,), **options}, 32, num_classes)


def segmentor(**options):
    return hosts.segmentor({**BACKBONE, **options}, (8, 16, 24, 32))


def by_init_cfg(file):
    model = SEG.build(segmentor(init_cfg={'type': 'Pretrained', 'checkpoint': str(file)}))
    model.init_weights()
    return model


def by_load_checkpoint(file):
    model = SEG.build(segmentor())
    load_checkpoint(model, str(file), map_location='cpu')
    return model


def by_get_model(file):
    return get_model(Config({'model': classifier()}), pretrained=str(file))


def by_load_state_dict(file):
    model = PRETRAIN.build(classifier())
    model.load_state_dict(torch.load(file, weights_only=False))
    return model


def by_load_from(file):
    """A run that fine-tunes; its average starts from the same weights."""
    runner = Runner(
        PRETRAIN.build(classifier()),
        work_dir=str(file.parent / 'run'),
        load_from=str(file),
        custom_hooks=[{'type': 'EMAHook'}],
        default_hooks={'logger': None, 'checkpoint': None},
        experiment_name='test_sgformer_checkpoint',
    )
    runner.call_hook('before_run')
    runner.load_or_resume()
    (average,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    assert equal(average.ema_model.module.state_dict(), runner.model.state_dict())
    return runner.model


@pytest.mark.parametrize(
    'load', [by_init_cfg, by_load_checkpoint, by_get_model, by_load_state_dict, by_load_from]
)
@pytest.mark.parametrize('content', ['as saved', 'bare', 'exported'])
def test_every_way_in(load, content, file, ours, official, tmp_path):
    if content == 'bare':
        torch.save(official, file)
    elif content == 'exported':
        torch.save({'state_dict': convert_state(official)[0]}, file)
    model = load(file)
    assert equal(model.backbone.state_dict(), ours)
    if hasattr(model, 'head'):
        assert torch.equal(model.head.fc.weight, official['head.weight'])
        assert torch.equal(model.head.fc.bias, official['head.bias'])


def test_the_report(file, log):
    model = SGFormer(ARCH, img_size=32, init_cfg={'type': 'Pretrained', 'checkpoint': str(file)})
    model.init_weights()
    count = len(model.state_dict())
    assert 'checkpoint: state_dict_ema taken, of state_dict_ema, state_dict' in log()
    assert (
        f'SGFormer: {count} of {count} tensors used, 0 resized, 0 missing, 2 unexpected, '
        'layout: official SG-Former; unexpected: head.weight, head.bias' in log()
    )
    assert not any('weights_only' in line for line in log())  # read without unpickling anything


@pytest.mark.parametrize('img_size', [64, (32, 96)])
def test_another_image_size_resizes_the_table(img_size, file, ours, log):
    model = PRETRAIN.build(classifier(img_size=img_size))
    load_checkpoint(model, str(file), map_location='cpu')
    table = ours['stem.pos_embed'].permute(0, 3, 1, 2)
    size = (16, 16) if img_size == 64 else (8, 24)
    expected = F.interpolate(table, size, mode='bicubic', align_corners=False)
    state = model.backbone.state_dict()
    assert torch.equal(state['stem.pos_embed'], expected.permute(0, 2, 3, 1))
    assert equal(state, ours | {'stem.pos_embed': state['stem.pos_embed']})
    (line,) = (line for line in log() if line.startswith('SGFormer:'))
    assert ', 1 resized, 0 missing, 0 unexpected,' in line


def test_another_number_of_classes_keeps_the_new_head(file, ours):
    model = PRETRAIN.build(classifier(num_classes=7))
    before = copy.deepcopy(model.head.state_dict())
    load_checkpoint(model, str(file), map_location='cpu')
    assert equal(model.backbone.state_dict(), ours)
    assert equal(model.head.state_dict(), before)


def test_layout_is_that_of_the_published_code():
    golden = Golden('sgformer_s')
    converted = LAYOUT.to_ours(golden.state)
    with torch.device('meta'):
        expected = SGFormer('small').state_dict()
    head = {'head.weight', 'head.bias'}
    assert converted.keys() == expected.keys() | head
    assert all(converted[key].shape == value.shape for key, value in expected.items())
    assert equal(LAYOUT.from_ours(converted), golden.state)


def test_where_the_rows_go(ours, official):
    """The order that the attention reads: queries, keys, values, in each first half heads first."""
    q1, q2, kv2 = (official[f'block2.2.attn.{name}.weight'] for name in ('q1', 'q2', 'kv2'))
    rows = torch.cat([q1, q2, kv2])
    assert torch.equal(ours['stages.1.blocks.2.attn.qkv.weight'], rows)
    (k1, v1), (k2, v2) = (official[f'block2.3.attn.{n}.bias'].chunk(2) for n in ('kv1', 'kv2'))
    assert torch.equal(ours['stages.1.blocks.3.attn.kv.bias'], torch.cat([k1, k2, v1, v2]))
    assert torch.equal(ours['stages.3.blocks.1.attn.kv.bias'], official['block4.1.attn.kv.bias'])
    assert torch.equal(ours['stem.pos_embed'].flatten(1, 2), official['pos_embed'])


@pytest.mark.parametrize('side', [56, 96])
@pytest.mark.parametrize('wanted', ['medium', 'base'])
def test_another_variant_is_named(wanted, side):
    """Whatever size its position table was made for."""
    with torch.device('meta'):
        state = LAYOUT.from_ours(SGFormer('small', img_size=4 * side).state_dict())
        model = SGFormer(wanted)
    assert state['pos_embed'].shape == (1, side * side, 64)
    with pytest.raises(CheckpointMismatchError, match="variant 'small'.*set arch='small'"):
        model.load_state_dict(state)


def damage(official, name):
    state = dict(official)
    if name == 'a group without its second part':
        del state['block1.0.attn.q2.weight']
    elif name == 'a guided block without its second part':
        del state['block2.1.attn.kv2.bias']
    elif name == 'a group of unequal parts':
        state['block1.0.attn.q1.weight'] = torch.ones(6, 8)
    elif name == 'a table that is not square':
        state['pos_embed'] = torch.ones(1, 63, 8)
    elif name == 'a table of another kind':
        state['pos_embed'] = torch.ones(64, 8)
    return state


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        (
            'a group without its second part',
            r'1 tensors are missing \(stages\.0\.blocks\.0\.attn\.qkv\.weight\)',
        ),
        (
            'a guided block without its second part',
            r'1 tensors are missing \(stages\.1\.blocks\.1\.attn\.kv\.bias\)',
        ),
        (
            'a group of unequal parts',
            r'do not belong to one attention: block1\.0\.attn\.q1\.weight \(6, 8\), block1',
        ),
        ('a table that is not square', r'pos_embed has the shape \(1, 63, 8\).* square L'),
        ('a table of another kind', r'pos_embed has the shape \(64, 8\)'),
    ],
)
def test_damaged_files_are_refused(name, reason, official):
    model = SGFormer(ARCH, img_size=32)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointMismatchError, match=reason) as caught:
        model.load_state_dict(damage(official, name))
    assert '\n' not in str(caught.value)
    assert equal(model.state_dict(), before)


def test_partial_load_says_what_it_left_out(official, ours, log):
    model = SGFormer(ARCH, img_size=32, allow_partial_load=True)
    key = 'stages.0.blocks.0.attn.qkv.weight'
    before = model.state_dict()[key].clone()
    state = damage(official, 'a group without its second part')
    model.load_state_dict({'state_dict': state}, strict=False)
    assert equal(model.state_dict(), ours | {key: before})
    (line,) = (line for line in log() if line.startswith('SGFormer:'))
    assert '1 missing, 4 unexpected, layout: official SG-Former; partial load allowed' in line
    assert 'block1.0.attn.q1.weight, block1.0.attn.kv2.weight' in line


def test_a_table_that_is_not_square_is_not_exported():
    state = SGFormer(ARCH, img_size=(32, 64)).state_dict()
    with pytest.raises(ValueError, match=r'stem\.pos_embed has the shape \(1, 8, 16, 8\)'):
        convert_state(state, to='official')


@pytest.mark.slow
def test_files_of_another_table_size_convert(tmp_path):
    with torch.device('meta'):
        shapes = LAYOUT.from_ours(SGFormer('small', img_size=384).state_dict())
    state = {
        key: torch.full(value.shape, float(i)) for i, (key, value) in enumerate(shapes.items())
    }
    torch.save({'state_dict': state}, tmp_path / 'official.pth')
    line = convert_file(tmp_path / 'official.pth', tmp_path / 'ours.pth')
    assert "SGFormer 'small'" in line
    convert_file(tmp_path / 'ours.pth', tmp_path / 'back.pth', to='official')
    assert equal(read_checkpoint(tmp_path / 'back.pth')['state_dict'], state)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_trained_classifier_goes_back_to_the_authors_names(prefix, ours, official):
    head = {'head.weight': torch.randn(10, 32), 'head.bias': torch.randn(10)}
    trained = {f'{prefix}backbone.{key}': value for key, value in ours.items()}
    trained |= {f'{prefix}{key.replace("head", "head.fc")}': value for key, value in head.items()}
    exported, names = convert_state(trained, to='official')
    bare = {key: value for key, value in official.items() if not key.startswith('head.')}
    stripped = {key.removeprefix(prefix): value for key, value in exported.items()}
    assert equal(stripped, bare | head)
    assert names == ['official SG-Former']
