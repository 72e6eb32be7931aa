"""Swin's files in every published naming, both ways, and the hosts' Swin on the same weights."""

import copy
import logging
from math import isqrt

import hosts
import pytest
import torch
import torch.nn.functional as F
import torchvision
from hosts import equal
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmpretrain import get_model
from mmpretrain.models import SwinTransformer as MMPretrainSwin
from mmpretrain.models import SwinTransformerV2
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.models import SwinTransformer as MMSegSwin
from mmseg.registry import MODELS as SEG
from mmseg.utils import register_all_modules
from recipe import Golden, draw, draw_normal
from safetensors.torch import save_file

from mmvit_plugins.checkpoint import CheckpointMismatchError, convert_state
from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.models import SwinTransformer
from mmvit_plugins.models.backbones.swin import ShiftedWindows

register_all_modules()

LAYOUTS = {layout.name.split()[0]: layout for layout in CONVERTERS['SwinTransformer']}
HOST_ARCH = {'embed_dims': 8, 'depths': (2, 2, 4, 2), 'num_heads': (1, 2, 2, 4)}
ARCH = {**HOST_ARCH, 'window_size': 4}
BACKBONE = {'type': 'mmvit_plugins.SwinTransformer', 'arch': ARCH}
CLASSES = 10


def drawn(module):
    return {key: draw(key, value.shape) for key, value in module.state_dict().items()}


@pytest.fixture(scope='module')
def ours():
    """A classifier's backbone; every number drawn, so that no two rows are alike."""
    return drawn(SwinTransformer(ARCH, out_indices=(3,)))


@pytest.fixture(scope='module')
def dense():
    """A backbone with a norm after every stage."""
    return drawn(SwinTransformer(ARCH))


@pytest.fixture(scope='module')
def head():
    return {'weight': draw('head.weight', (CLASSES, 64)), 'bias': draw('head.bias', (CLASSES,))}


@pytest.fixture(scope='module')
def official(ours, head):
    """The file's entry ``model``, computed entries included."""
    return LAYOUTS['official'].from_ours(ours) | {f'head.{k}': v for k, v in head.items()}


def as_timm(official):
    """What timm's own model has: nothing that is computed, mergings one stage later."""
    kept = {k: v for k, v in official.items() if not k.endswith(('_index', '_mask'))}
    for stage in (2, 1, 0):
        merge = f'layers.{stage}.downsample.'
        for key in [key for key in kept if key.startswith(merge)]:
            kept[key.replace(merge, f'layers.{stage + 1}.downsample.')] = kept.pop(key)
    return {k.replace('head.', 'head.fc.'): v for k, v in kept.items()}


def as_huggingface(official):
    """What ``transformers``' SwinForImageClassification has; written down from its 4.57.6."""
    block = 'swin.encoder.layers.{}.blocks.{}.'
    parts = {
        'norm1': 'layernorm_before',
        'attn.proj': 'attention.output.dense',
        'norm2': 'layernorm_after',
        'mlp.fc1': 'intermediate.dense',
        'mlp.fc2': 'output.dense',
    }
    theirs = {}
    for key, value in official.items():
        top, _, rest = key.partition('.')
        if top == 'patch_embed':
            theirs[f'swin.embeddings.{rest}'.replace('proj', 'patch_embeddings.projection')] = value
        elif top in ('norm', 'head'):
            theirs[key.replace('norm', 'swin.layernorm').replace('head', 'classifier')] = value
        elif '.downsample.' in key:
            theirs[f'swin.encoder.{key}'] = value
        elif '.qkv.' in key:
            _, stage, _, number, *_, leaf = key.split('.')
            for name, rows in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
                theirs[f'{block.format(stage, number)}attention.self.{name}.{leaf}'] = rows
        elif 'relative_position' in key:
            _, stage, _, number, _, leaf = key.split('.')
            theirs[f'{block.format(stage, number)}attention.self.{leaf}'] = value
        elif not key.endswith('attn_mask'):
            _, stage, _, number, *part, leaf = key.split('.')
            theirs[f'{block.format(stage, number)}{parts[".".join(part)]}.{leaf}'] = value
    return theirs


def as_mmseg_converts(ours, official):
    """What mmsegmentation's ``swin2mmseg.py`` makes of the official file: masks and norm stay."""
    theirs = LAYOUTS['mmpretrain'].from_ours(ours)
    theirs = {k.replace('norm3.', 'norm.'): v for k, v in theirs.items()}
    masks = {k.replace('layers', 'stages'): v for k, v in official.items() if k.endswith('_mask')}
    return theirs | masks


CONTENTS = {
    'official': lambda ours, official: {'model': official, 'epoch': 299, 'optimizer': {}},
    'bare': lambda ours, official: official,
    'state_dict': lambda ours, official: {'state_dict': official},
    'module.': lambda ours, official: {'model': {f'module.{k}': v for k, v in official.items()}},
    'timm': lambda ours, official: as_timm(official),
    'module. of timm': lambda ours, official: {
        'state_dict': {f'module.{k}': v for k, v in as_timm(official).items()}
    },
    'torchvision': lambda ours, official: (
        LAYOUTS['torchvision'].from_ours(ours)
        | {k: v for k, v in official.items() if k.startswith('head.')}
    ),
    'mmpretrain': lambda ours, official: {
        'meta': {},
        'state_dict': convert_state(
            ours | {k: v for k, v in official.items() if k.startswith('head.')}, 'mmpretrain'
        )[0],
    },
    'huggingface': lambda ours, official: as_huggingface(official),
    'huggingface.safetensors': lambda ours, official: as_huggingface(official),
    'timm.safetensors': lambda ours, official: as_timm(official),
    'mmseg converted': lambda ours, official: as_mmseg_converts(ours, official),
    'ours': lambda ours, official: {'state_dict': convert_state(official)[0]},
}


@pytest.fixture(params=CONTENTS)
def file(request, ours, official, tmp_path):
    content = CONTENTS[request.param](ours, official)
    if request.param.endswith('.safetensors'):
        path = tmp_path / 'swin.safetensors'
        save_file({key: value.contiguous() for key, value in content.items()}, path)
    else:
        path = tmp_path / 'swin.pth'
        torch.save(content, path)
    return path


@pytest.fixture
def log(log):
    """Of all messages, what loading says."""
    return lambda: [line for line in log() if line.startswith(('SwinTransformer:', 'head.fc'))]


def classifier(num_classes=CLASSES):
    return hosts.classifier({**BACKBONE, 'out_indices': (3,)}, 64, num_classes)


def segmentor(**options):
    return hosts.segmentor({**BACKBONE, **options}, (8, 16, 32, 64))


def error(maps, expected):
    """Largest relative L2 error of maps."""
    assert [m.shape for m in maps] == [e.shape for e in expected]
    return max(((m - e).norm() / e.norm()).item() for m, e in zip(maps, expected, strict=True))


def outputs(model, size, batch=2):
    model.eval()
    with torch.no_grad():
        return model(draw_normal((batch, 3, *size), 0))


def test_every_file_loads_into_every_model(file, request, ours, head, log):
    """Through ``init_cfg``, ``get_model`` and the hosts' ``load_checkpoint``."""
    content = request.node.callspec.params['file'].removesuffix('.safetensors')
    pretrained = {'type': 'Pretrained', 'checkpoint': str(file)}
    backbone = PRETRAIN.build({**BACKBONE, 'out_indices': (3,), 'init_cfg': pretrained})
    backbone.init_weights()
    assert equal(backbone.state_dict(), ours)
    model = get_model(Config({'model': classifier()}), pretrained=str(file))
    assert equal(model.backbone.state_dict(), ours)
    if content != 'mmseg converted':
        assert equal(model.head.fc.state_dict(), head)
    first, second = log()
    layout = content if content in LAYOUTS else 'mmpretrain' if 'mmseg' in content else 'official'
    layout = 'timm' if 'timm' in content else layout
    layout = 'mmvit_plugins' if content == 'ours' else f'{layout} Swin'
    count = f'SwinTransformer: {len(ours)} of {len(ours)} tensors used, 0 resized, 0 missing'
    assert first.startswith(count) and f'layout: {layout}' in first
    assert second == f'{count}, 0 unexpected, layout: {layout}'


def test_a_dense_model_starts_the_norms_of_other_stages_anew(file, ours, log, caplog):
    for load in ('init_cfg', 'load_checkpoint'):
        caplog.clear()
        if load == 'init_cfg':
            pretrained = {'type': 'Pretrained', 'checkpoint': str(file)}
            model = SEG.build(segmentor(init_cfg=pretrained))
            model.init_weights()
        else:
            model = SEG.build(segmentor())
            load_checkpoint(model, str(file), map_location='cpu')
        state = model.backbone.state_dict()
        fresh = {f'stages.{i}.norm.{leaf}' for i in range(3) for leaf in ('weight', 'bias')}
        assert all((state[k] == k.endswith('weight')).all() for k in fresh)
        assert equal({k: v for k, v in state.items() if k not in fresh}, ours)
        (line,) = log()
        assert f'{len(ours)} of {len(state)} tensors used, 0 resized, 0 missing' in line
        said = 'not in the file and initialised anew: stages.0.norm.weight, stages.0.norm.bias, '
        assert f'{said}stages.1.norm.weight and 3 more' in line


def test_what_may_start_anew_is_there_as_a_whole_or_not_at_all(ours, dense, log, caplog):
    model = SwinTransformer(ARCH)
    assert not model.load_state_dict(ours).missing_keys  # strict
    assert caplog.records[-1].levelno == logging.INFO
    for key in ('stages.1.norm.bias', 'stages.3.norm.weight', 'stages.3.norm.'):
        partial = {k: v for k, v in dense.items() if not k.startswith(key)}
        with pytest.raises(CheckpointMismatchError, match=r'tensors are missing \(stages\.[13]'):
            SwinTransformer(ARCH).load_state_dict(partial)
    without = {k: v for k, v in dense.items() if not k.startswith('stages.1.norm.')}
    SwinTransformer(ARCH).load_state_dict(without)
    assert log()[-1].endswith('initialised anew: stages.1.norm.weight, stages.1.norm.bias')


def test_layout_is_that_of_the_published_code():
    """Names and shapes of the official network; what it computes is left out of the golden file."""
    golden, layout = Golden('swin_tiny'), LAYOUTS['official']
    converted = layout.to_ours(golden.state)
    with torch.device('meta'):
        expected = SwinTransformer('tiny', out_indices=(3,)).state_dict()
    assert converted.keys() == expected.keys() | {'head.weight', 'head.bias'}
    assert all(converted[key].shape == value.shape for key, value in expected.items())
    exported = layout.from_ours(converted)
    assert {k: v.shape for k, v in exported.items()} == {
        k: v.shape for k, v in golden.state.items()
    }
    index = MMPretrainSwin(HOST_ARCH).stages[0].blocks[0].attn.w_msa.relative_position_index
    for key, value in exported.items():
        if key.endswith('.attn_mask'):
            side = 7 * isqrt(len(value))
            expected = ShiftedWindows((side, side), 7, 3, torch.device('cpu')).mask
        else:
            expected = index if key.endswith('.relative_position_index') else golden.state[key]
        assert value.dtype == expected.dtype and torch.equal(value, expected), key


@pytest.mark.parametrize('name', LAYOUTS)
def test_round_trip(name, ours, dense):
    for state in (ours, dense):
        theirs = LAYOUTS[name].from_ours(state)
        assert LAYOUTS[name].anchor in theirs
        assert equal(LAYOUTS[name].to_ours(theirs), state)
        assert sum(LAYOUTS[other].anchor in theirs for other in LAYOUTS) == 1


def test_the_authors_dense_files(dense):
    """Their detectors and segmentors number the norms and have no masks."""
    theirs = LAYOUTS['official'].from_ours(dense)
    assert {'norm0.weight', 'norm3.bias', 'layers.0.blocks.0.attn.relative_position_index'} < {
        *theirs
    }
    assert not any(key.startswith('norm.') or key.endswith('attn_mask') for key in theirs)
    model = SEG.build(segmentor())
    model.load_state_dict({f'backbone.{k}': v for k, v in theirs.items()}, strict=False)
    assert equal(model.backbone.state_dict(), dense)


def test_timm_names(ours, official, head):
    whole = {f'backbone.{k}': v for k, v in ours.items()}
    whole |= {f'head.fc.{k}': v for k, v in head.items()}
    exported, names = convert_state(whole, 'timm')
    assert names == ['timm Swin']
    assert equal(exported, as_timm(official))
    exported, _ = convert_state(whole, 'huggingface')
    assert equal(exported, as_huggingface(official))


@pytest.mark.parametrize('size', [(128, 128), (131, 201), (128, 150)])
def test_mmpretrain_agrees(size, dense, ours):
    """With padding at every step; a last map of one window, and one as high as a window."""
    host = MMPretrainSwin(HOST_ARCH, window_size=4, out_indices=(0, 1, 2, 3))
    host.load_state_dict(LAYOUTS['mmpretrain'].from_ours(dense))
    model = SwinTransformer(ARCH, small_map='shrink')
    model.load_state_dict(dense)
    expected = outputs(host, size)
    assert error(outputs(model, size), expected) <= 1e-5
    back = SwinTransformer(ARCH, small_map='shrink')
    back.load_state_dict(host.state_dict())
    assert equal(back.state_dict(), dense)
    if size == (128, 128):  # the rules differ where a map is one window
        dense_rule = SwinTransformer(ARCH)
        dense_rule.load_state_dict(dense)
        assert error(outputs(dense_rule, size)[3:], expected[3:]) > 1e-2
        host = MMPretrainSwin(HOST_ARCH, window_size=4)
        host.load_state_dict(LAYOUTS['mmpretrain'].from_ours(ours))
        last = SwinTransformer(ARCH, out_indices=(3,))
        last.load_state_dict(ours)
        assert error(outputs(last, size), outputs(host, size)) <= 1e-5


@pytest.mark.parametrize('size', [(128, 128), (131, 201), (33, 70)])
def test_mmseg_agrees(size, dense):
    """With a last map of one window, with padding, and with maps smaller than a window."""
    host = MMSegSwin(**ARCH)
    host.load_state_dict(LAYOUTS['mmpretrain'].from_ours(dense))
    model = SwinTransformer(ARCH, small_map='pad')
    model.load_state_dict(host.state_dict())
    assert equal(model.state_dict(), dense)
    assert error(outputs(model, size), outputs(host, size)) <= 1e-5


def test_torchvision_agrees(ours, head):
    host = torchvision.models.SwinTransformer(
        [4, 4], 8, HOST_ARCH['depths'], HOST_ARCH['num_heads'], [4, 4], num_classes=CLASSES
    )
    bare = {f'head.{k}': v for k, v in head.items()}
    exported, _ = convert_state(ours | bare, 'torchvision')
    host.load_state_dict(exported)
    model = PRETRAIN.build(classifier())
    model.load_state_dict(host.state_dict())
    assert equal(model.backbone.state_dict(), ours)
    for size in ((104, 104), (136, 168)):
        model.eval()
        with torch.no_grad():
            logits = model(draw_normal((2, 3, *size), 0), mode='tensor')
        assert error([logits], [outputs(host, size)]) <= 1e-5


def test_another_window_resizes_the_tables(official, ours, log):
    """The computed entries of the file, made for its own window, are no obstacle."""
    model = PRETRAIN.build({**BACKBONE, 'window_size': 7, 'out_indices': (3,)})
    model.load_state_dict({'model': official}, strict=False)
    tables = [key for key in ours if key.endswith('table')]
    state = model.state_dict()
    for key in tables:
        square = ours[key].t().unflatten(1, (7, 7)).unsqueeze(0)
        expected = F.interpolate(square, (13, 13), mode='bicubic').squeeze(0).flatten(1).t()
        assert torch.allclose(state[key], expected, atol=1e-6)
    assert equal({**state, **{key: ours[key] for key in tables}}, ours)
    assert f', {len(tables)} resized, 0 missing, 2 unexpected' in log()[-1]


def test_simmim_before_fine_tuning(official, ours, log):
    """The encoder is found; the mask token, and what reconstructs pictures, is reported."""
    file = {f'encoder.{k}': v for k, v in official.items() if not k.startswith('head.')}
    file |= {'encoder.mask_token': torch.zeros(1, 1, 8), 'decoder.0.bias': torch.zeros(3072)}
    model = SwinTransformer(ARCH, out_indices=(3,))
    model.load_state_dict({'model': file, 'epoch': 99}, strict=False)
    assert equal(model.state_dict(), ours)
    assert log()[-1].endswith(
        '2 unexpected, layout: official Swin; unexpected: decoder.0.bias, mask_token'
    )
    model = PRETRAIN.build(classifier())
    keys = model.load_state_dict({'model': file, 'epoch': 99}, strict=False)
    assert equal(model.backbone.state_dict(), ours)
    assert keys.unexpected_keys == ['decoder.0.bias', 'backbone.mask_token']
    assert keys.missing_keys == ['head.fc.weight', 'head.fc.bias']


@pytest.mark.parametrize(('classes', 'wanted'), [(21841, 1000), (10, 1000)])
def test_another_number_of_classes(classes, wanted, official, ours, tmp_path, log, caplog):
    file = official | {
        'head.weight': draw('head.weight', (classes, 64)),
        'head.bias': draw('head.bias', (classes,)),
    }
    torch.save({'model': file}, tmp_path / 'swin_22k.pth')
    model = PRETRAIN.build(classifier(wanted))
    before = copy.deepcopy(model.head.state_dict())
    load_checkpoint(model, str(tmp_path / 'swin_22k.pth'), map_location='cpu')
    assert equal(model.backbone.state_dict(), ours)
    assert equal(model.head.state_dict(), before)
    said = f'head.fc.weight: {classes} classes in the file, {wanted} in the model, initialised anew'
    if classes > wanted:
        said += (
            '; if the classes are among those of the file, keep their weights with '
            'tools/convert_checkpoint.py SOURCE TARGET --class-map FILE'
        )
    (line,) = (line for line in log() if line.startswith('head.fc'))
    assert line == said
    (record,) = (record for record in caplog.records if record.getMessage() == said)
    assert record.levelno == logging.WARNING
    assert not any('size mismatch' in record.getMessage() for record in caplog.records)


def swin_v2(official):
    blocks = {k.rpartition('.')[0] for k in official if k.endswith('.relative_position_bias_table')}
    kept = {k: v for k, v in official.items() if not k.endswith('.relative_position_bias_table')}
    return kept | {f'{block}.logit_scale': torch.ones(1, 1, 1) for block in blocks}


REFUSED = {
    'Swin V2': (swin_v2, 'fits no variant: it is of Swin V2, another network'),
    "Swin V2 of timm's": (lambda s: swin_v2(as_timm(s)), 'it is of Swin V2'),
    "Swin V2 of mmpretrain's": (
        lambda s: {
            f'backbone.{k}': v
            for k, v in SwinTransformerV2(
                {**HOST_ARCH, 'extra_norm_every_n_blocks': 0}, window_size=4
            )
            .state_dict()
            .items()
        },
        'it is of Swin V2',
    ),
    'an absolute position embedding': (
        lambda s: s | {'absolute_pos_embed': torch.zeros(1, 1024, 8)},
        'does not convert: it holds an absolute position embedding',
    ),
    'without a merging': (
        lambda s: {k: v for k, v in s.items() if not k.startswith('layers.2.downsample')},
        r'3 tensors are missing \(stages\.3\.merge\.norm\.weight, ',
    ),
    'a table of other heads': (
        lambda s: s | {'layers.0.blocks.0.attn.relative_position_bias_table': torch.ones(49, 3)},
        r'1 have another size .*bias_table: \(49, 3\) in the file, \(49, 1\) in the model',
    ),
    'a table of no window': (
        lambda s: s | {'layers.0.blocks.0.attn.relative_position_bias_table': torch.ones(50, 1)},
        r'1 have another size .*bias_table: \(50, 1\) in the file',
    ),
}


@pytest.mark.parametrize('case', REFUSED)
def test_what_is_no_such_swin_is_refused(case, official):
    make, reason = REFUSED[case]
    for model in (SwinTransformer(ARCH, out_indices=(3,)), PRETRAIN.build(classifier())):
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(CheckpointMismatchError, match=reason) as caught:
            model.load_state_dict({'model': make(official)}, strict=False)
        assert '\n' not in str(caught.value)
        assert equal(model.state_dict(), before)


def test_a_table_of_no_window_is_not_exported(ours):
    key = 'stages.0.blocks.0.attn.relative_position_bias_table'
    with pytest.raises(ValueError, match=r'bias_table has 50 rows, but \(2M - 1\)\^2'):
        LAYOUTS['official'].from_ours(ours | {key: torch.ones(50, 1)})


@pytest.mark.parametrize('held', ['tiny', 'small', 'base', 'tiny_c24'])
def test_another_variant_is_named(held):
    """Of a classifier's file, for a dense model with another window."""
    with torch.device('meta'):
        theirs = SwinTransformer(held, out_indices=(3,)).state_dict()
        model = SwinTransformer('large', window_size=12)
        state = LAYOUTS['timm'].from_ours(theirs)
    with pytest.raises(CheckpointMismatchError, match=f"variant '{held}'.*set arch='{held}'"):
        model.load_state_dict(state)


def test_a_deeper_file_is_refused():
    """All of its shallower namesake's tensors are in it, and fit."""
    with torch.device('meta'):
        state = LAYOUTS['official'].from_ours(SwinTransformer('small').state_dict())
        model = SwinTransformer('tiny')
    with pytest.raises(CheckpointMismatchError, match="variant 'small'.*set arch='small'"):
        model.load_state_dict(state)
    ours = SwinTransformer(ARCH).state_dict()
    shallower = SwinTransformer(ARCH | {'depths': (1, 1, 1, 1)})
    with pytest.raises(CheckpointMismatchError, match='of blocks that the model does not have'):
        shallower.load_state_dict(ours)
    shallower.allow_partial_load = True
    shallower.load_state_dict(ours, strict=False)
