"""Loading: official files and ours, any wrapping and prefix, and what must fail loudly."""

import argparse
import copy
import logging
import sys
from types import ModuleType, SimpleNamespace

import detection
import hosts
import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.logging import MMLogger
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from mmpretrain.registry import MODELS as PRETRAIN
from mmseg.registry import MODELS as SEG
from mmseg.utils import register_all_modules
from recipe import Golden
from torch import nn

from mmvit_plugins.checkpoint import (
    CheckpointFileError,
    CheckpointMismatchError,
    convert_state,
    read_checkpoint,
)
from mmvit_plugins.checkpoint.reading import unwrap
from mmvit_plugins.models import AFFormer

register_all_modules()


@pytest.fixture(scope='module')
def official():
    """The authors' whole segmentation state dict (drawn weights), variant tiny, 150 classes."""
    return Golden('afformer_tiny').state


@pytest.fixture(scope='module')
def official_backbone(official):
    return {
        k.removeprefix('backbone.'): v for k, v in official.items() if k.startswith('backbone.')
    }


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_instance('test_checkpoint', logger_name='test_checkpoint')
    MMLogger._instance_dict.move_to_end('test_checkpoint')
    logger.addHandler(caplog.handler)
    yield lambda: [r.getMessage() for r in caplog.records if r.getMessage().startswith('AFFormer')]
    logger.removeHandler(caplog.handler)


def segmentor(arch='tiny', num_classes=150, **options):
    return SEG.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': {'type': 'mmvit_plugins.AFFormer', 'arch': arch, **options},
            'decode_head': {'type': 'mmvit_plugins.AFFormerHead', 'num_classes': num_classes},
            'test_cfg': {'mode': 'whole'},
        }
    )


def classifier(num_classes=10):
    return PRETRAIN.build(
        {
            'type': 'mmpretrain.ImageClassifier',
            'backbone': {'type': 'mmvit_plugins.AFFormer', 'out_indices': (3,)},
            'neck': {'type': 'mmpretrain.GlobalAveragePooling'},
            'head': {
                'type': 'mmpretrain.LinearClsHead',
                'num_classes': num_classes,
                'in_channels': 216,
                'loss': {'type': 'mmpretrain.CrossEntropyLoss'},
            },
            'data_preprocessor': {'type': 'mmpretrain.ClsDataPreprocessor'},
        }
    )


def same(backbone, official_backbone):
    """Whether a backbone holds the official weights, by one tensor of each kind."""
    state = backbone.state_dict()
    pairs = {
        'stem.0.conv.weight': 'stem.0.conv.weight',
        'stages.2.position.conv.weight': 'mhca_stages.2.mhca_blks.0.cpe.proj.weight',
        'stages.3.high_pass.filters.1.bias': 'mhca_stages.3.mhca_blks.0.crpe.conv_list.1.bias',
        'stages.1.blocks.1.attn.qkv.weight': (
            'mhca_stages.1.mhca_blks.0.MHCA_layers.1.factoratt_crpe.qkv.weight'
        ),
        'stages.3.aggregate.norm.running_var': 'mhca_stages.3.aggregate.bn.running_var',
    }
    return all(torch.equal(state[our], official_backbone[key]) for our, key in pairs.items())


def shifted(state):
    """The weights that are not to be taken."""
    return {key: value + 1 for key, value in state.items()}


WRAPPINGS = {
    'bare': lambda s: s,
    'state_dict': lambda s: {'state_dict': s, 'epoch': 3},
    'model': lambda s: {'model': s, 'optimizer': {'state': {}}},
    'model_ema': lambda s: {'epoch': 1, 'model_ema': s},
    'model_ema beside model': lambda s: {'model': shifted(s), 'model_ema': s},
    'no model_ema beside model': lambda s: {'model': s, 'model_ema': None},
    'state_dict_ema beside state_dict': lambda s: {
        'args': argparse.Namespace(lr=1e-3),
        'state_dict': shifted(s),
        'state_dict_ema': {f'module.{k}': v for k, v in s.items()},
    },
    "mmengine's average": lambda s: {
        'meta': {},
        'state_dict': s,
        'ema_state_dict': {f'module.{k}': v for k, v in shifted(s).items()},
    },
    'module.': lambda s: {f'module.{k}': v for k, v in s.items()},
    'backbone.': lambda s: {f'backbone.{k}': v for k, v in s.items()},
    'model of module.backbone.': lambda s: {
        'model': {f'module.backbone.{k}': v for k, v in s.items()}
    },
    'with a classifier': lambda s: (
        s | {'cls_head.cls.weight': torch.ones(10, 216), 'cls_head.cls.bias': torch.ones(10)}
    ),
}


@pytest.mark.parametrize('wrapping', WRAPPINGS)
@pytest.mark.parametrize('layout', ['official', 'ours'])
def test_init_cfg_takes_any_wrapping(wrapping, layout, official_backbone, tmp_path, log):
    state = official_backbone if layout == 'official' else convert_state(official_backbone)[0]
    file = tmp_path / 'weights.pth'
    torch.save(WRAPPINGS[wrapping](state), file)
    model = AFFormer(init_cfg={'type': 'Pretrained', 'checkpoint': str(file)})
    model.init_weights()
    assert same(model, official_backbone)
    (line,) = log()
    assert line.startswith('AFFormer: 300 of 300 tensors used, 0 resized, 0 missing')
    assert ('official' in line) == (layout == 'official')


@pytest.mark.parametrize('wrapping', WRAPPINGS)
def test_whole_models_take_any_wrapping(wrapping, official_backbone, tmp_path):
    """``load_from``, ``init_model`` and ``get_model`` hand the file to the whole model."""
    file = tmp_path / 'weights.pth'
    torch.save(WRAPPINGS[wrapping](official_backbone), file)
    for model in (segmentor(), classifier()):
        load_checkpoint(model, str(file), map_location='cpu')
        assert same(model.backbone, official_backbone)
    if wrapping == 'with a classifier':
        assert (model.head.fc.weight == 1).all() and (model.head.fc.bias == 1).all()


def test_segmentation_checkpoint_loads_with_its_head(official, official_backbone, log):
    for state in (
        official,
        {'state_dict': official},
        {f'module.{k}': v for k, v in official.items()},
    ):
        model = segmentor()
        model.load_state_dict(state)
        assert same(model.backbone, official_backbone)
        assert torch.equal(
            model.decode_head.convs[0].gn.weight, official['decode_head.squeeze.gn.weight']
        )
        assert torch.equal(model.decode_head.conv_seg.bias, official['decode_head.conv_seg.bias'])
    assert 'AFFormerHead: 5 of 5 tensors used' in log()[-1]


def test_nesting_ema_and_copies(official, official_backbone):
    nested = nn.ModuleDict({'student': segmentor()})
    nested.load_state_dict({f'student.{k}': v for k, v in official.items()})
    assert same(nested['student'].backbone, official_backbone)
    averaged = ExponentialMovingAverage(segmentor())
    averaged.load_state_dict(
        {f'module.{k}': v for k, v in official.items()} | {'steps': torch.tensor(3)}
    )
    assert same(averaged.module.backbone, official_backbone)
    twin = copy.deepcopy(segmentor())
    twin.load_state_dict({'model': official_backbone}, strict=False)
    assert same(twin.backbone, official_backbone)


def test_a_second_backbone_keeps_to_its_own_keys(official_backbone):
    pair = nn.ModuleDict({'teacher': AFFormer(allow_partial_load=True), 'student': AFFormer()})
    before = copy.deepcopy(pair['teacher'].state_dict())
    pair.load_state_dict({f'student.{k}': v for k, v in official_backbone.items()}, strict=False)
    assert same(pair['student'], official_backbone)
    assert all(torch.equal(v, before[k]) for k, v in pair['teacher'].state_dict().items())


def test_round_trip_to_the_official_layout(official):
    ours, found = convert_state(official)
    assert found == ['official AFFormer', 'official AFFormer head']
    back, _ = convert_state(ours, to='official')
    assert back.keys() == official.keys()
    for key, value in official.items():
        expected = torch.zeros_like(value) if '.align.' in key else value
        assert torch.equal(back[key], expected), key


def fcn(**options):
    """An auxiliary head, whose tensors have the names of AFFormer's head."""
    return {'type': 'mmseg.FCNHead', 'channels': 8, 'num_classes': 3, 'num_convs': 1, **options}


def swin_upernet():
    maps = {'in_channels': [8, 16, 32, 64], 'in_index': [0, 1, 2, 3], 'channels': 8}
    return SEG.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': detection.SWIN,
            'decode_head': {'type': 'mmseg.UPerHead', 'num_classes': 3, **maps},
            'auxiliary_head': fcn(in_channels=32, in_index=2),
        }
    )


def sgformer_mask_rcnn():
    detection.need_mmdet()
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    widths = (8, 16, 32, 64)
    arch = dict(embed_dims=widths, num_heads=(2, 2, 2, 2), depths=(2, 2, 2, 1), mlp_ratio=2)
    backbone = dict(type='mmvit_plugins.SGFormer', arch=arch)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(detection.mask_rcnn(backbone, widths))


def afformer_with_auxiliary_heads():
    """One head has another layout, the other differs from AFFormer's in its place alone."""
    norm = {'norm_cfg': {'type': 'GN', 'num_groups': 2}, 'kernel_size': 1, 'concat_input': False}
    return SEG.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': {'type': 'mmvit_plugins.AFFormer'},
            'decode_head': {'type': 'mmvit_plugins.AFFormerHead', 'num_classes': 3},
            'auxiliary_head': [
                fcn(in_channels=176, in_index=1),
                fcn(in_channels=176, in_index=2, **norm),
            ],
        }
    )


@pytest.mark.parametrize(
    ('build', 'names'),
    [
        (swin_upernet, ['official Swin']),
        (sgformer_mask_rcnn, ['official SG-Former']),
        (afformer_with_auxiliary_heads, ['official AFFormer', 'official AFFormer head']),
    ],
)
def test_conversion_of_a_whole_model_touches_only_what_it_names(build, names):
    state = build().state_dict()
    owned = ('backbone.', 'decode_head.') if len(names) > 1 else ('backbone.',)
    others = {key: value for key, value in state.items() if not key.startswith(owned)}
    assert any(key.endswith('convs.0.conv.weight') for key in others)
    official, written = convert_state(state, to='official')
    assert written == names
    ours, found = convert_state(official)
    assert found == names
    for converted in (official, ours):
        rest = {key: value for key, value in converted.items() if not key.startswith(owned)}
        assert hosts.equal(rest, others)
    assert hosts.equal(ours, state)


def test_a_head_of_like_names_is_not_taken_for_the_official_one():
    """SegNeXt's has ``squeeze``, as AFFormer's has."""
    state = {'decode_head.squeeze.conv.weight': torch.ones(2, 2, 1, 1)}
    assert convert_state(state) == (state, [])


@pytest.mark.parametrize('order', [1, -1])
def test_unequal_repeats_are_refused(official_backbone, order):
    damaged = dict(list(official_backbone.items())[::order])
    key = 'mhca_stages.2.mhca_blks.0.MHCA_layers.1.cpe.proj.weight'
    damaged[key] = damaged[key] + 1
    with pytest.raises(CheckpointMismatchError, match=r'cpe\.proj\.weight differs'):
        AFFormer().load_state_dict(damaged)


def test_another_variant_is_named(official_backbone):
    for arch in ('small', 'base'):
        with pytest.raises(CheckpointMismatchError, match="variant 'tiny'.*set arch='tiny'"):
            AFFormer(arch).load_state_dict(official_backbone)
    with pytest.raises(CheckpointMismatchError, match="variant 'base'"):
        segmentor().load_state_dict(AFFormer('base').state_dict(), strict=False)


def test_another_network_is_refused():
    for state in ({'conv1.weight': torch.ones(64, 3, 7, 7)}, {}):
        for model in (AFFormer(), segmentor()):
            with pytest.raises(CheckpointMismatchError, match='none of the tensors'):
                model.load_state_dict(state, strict=False)


def test_the_first_generation_is_named(official_backbone):
    state = official_backbone | {'stem.0.conv.weight': torch.ones(32, 3, 3, 3)}
    with pytest.raises(CheckpointMismatchError, match='first generation.*October 2023'):
        AFFormer().load_state_dict(state)


def test_missing_tensors_are_refused_unless_allowed(official_backbone, log):
    partial = {k: v for k, v in official_backbone.items() if not k.startswith('stem.1.')}
    model = AFFormer()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(CheckpointMismatchError, match=r'5 tensors are missing.*allow_partial_load'):
        _load_checkpoint_to_model(model, partial)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model = AFFormer(allow_partial_load=True)
    stem = model.stem[1].conv.weight.clone()
    _load_checkpoint_to_model(model, partial | {'stem.0.conv.weight': torch.ones(8, 3, 3, 3)})
    assert torch.equal(model.stem[1].conv.weight, stem)
    state = model.state_dict()
    key = 'stages.3.aggregate.conv.weight'
    assert torch.equal(state[key], official_backbone['mhca_stages.3.aggregate.conv.weight'])
    assert 'partial load allowed' in log()[-1]


def test_counters_may_be_missing(official_backbone):
    old = {k: v for k, v in official_backbone.items() if not k.endswith('num_batches_tracked')}
    model = AFFormer()
    _load_checkpoint_to_model(model, old)
    assert same(model, official_backbone)


@pytest.mark.parametrize('channels', [1, 4, 5])
def test_other_input_channels_are_adapted(official_backbone, channels, log):
    model = AFFormer(in_channels=channels)
    model.load_state_dict(official_backbone)
    weight = official_backbone['stem.0.conv.weight']
    constant = torch.ones(1, channels, 8, 8)
    ours = nn.functional.conv2d(constant, model.stem[0].conv.weight)
    expected = weight[:, torch.arange(channels) % 3].sum(1, keepdim=True) * 3 / channels
    assert torch.allclose(ours, nn.functional.conv2d(torch.ones(1, 1, 8, 8), expected), atol=1e-4)
    assert '1 resized' in log()[-1]


def test_another_number_of_classes_is_initialised_anew_with_a_warning(official, log, caplog):
    model = segmentor(num_classes=7)
    before = model.decode_head.conv_seg.weight.clone()
    model.load_state_dict(official, strict=False)
    assert torch.equal(model.decode_head.conv_seg.weight, before)
    assert torch.equal(
        model.decode_head.convs[0].conv.weight, official['decode_head.squeeze.conv.weight']
    )
    record = caplog.records[-1]
    assert record.levelno == logging.WARNING
    assert 'initialised anew: conv_seg.weight, conv_seg.bias' in record.getMessage()


def test_deployed_models_take_no_weights(official_backbone):
    model = AFFormer()
    model.switch_to_deploy()
    with pytest.raises(CheckpointMismatchError, match='load first, then switch_to_deploy'):
        model.load_state_dict(official_backbone)


def test_averaged_weights_of_mmengine_are_its_state_dict():
    """The hook swaps the two while it saves; what is read follows what it writes."""
    model, hook = nn.Linear(2, 2), EMAHook()
    hook.before_run(SimpleNamespace(model=model))
    with torch.no_grad():
        hook.ema_model.module.weight.fill_(3)
    checkpoint = {'state_dict': model.state_dict()}
    hook.before_save_checkpoint(None, checkpoint)
    assert (unwrap(checkpoint)['weight'] == 3).all()


def test_which_weights_were_taken_is_said(official_backbone, tmp_path, log, caplog):
    caplog.set_level(logging.INFO)
    line = 'checkpoint: model_ema taken, of model_ema, model'
    for name in ('model_ema beside model', "mmengine's average", 'model'):
        file = tmp_path / 'weights.pth'
        torch.save(WRAPPINGS[name](official_backbone), file)
        caplog.clear()
        load_checkpoint(AFFormer(), str(file), map_location='cpu', logger='current')
        said = [r.getMessage() for r in caplog.records if 'taken, of' in r.getMessage()]
        assert said == ([line] if name == 'model_ema beside model' else [])


def test_arguments_in_a_file_do_not_make_reading_it_unsafe(official_backbone, tmp_path, caplog):
    file = tmp_path / 'weights.pth'
    torch.save(WRAPPINGS['state_dict_ema beside state_dict'](official_backbone), file)
    read = read_checkpoint(file)
    assert read.keys() == {'args', 'state_dict'} and read['args'].lr == 1e-3
    assert not any('weights_only' in record.getMessage() for record in caplog.records)


def test_settings_of_a_run_are_read_without_yacs(official_backbone, tmp_path, monkeypatch, caplog):
    """The official Swin code (and SimMIM) saves them beside the weights."""
    attributes = {'__module__': 'yacs.config', '__qualname__': 'CfgNode'}
    node = type('CfgNode', (dict,), attributes)
    config = node(MODEL=node(NAME='swin'))
    config.__dict__ = {'__immutable__': True, '__deprecated_keys__': set()}
    file = tmp_path / 'weights.pth'
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'yacs', ModuleType('yacs'))
        patch.setitem(sys.modules, 'yacs.config', ModuleType('yacs.config'))
        sys.modules['yacs.config'].CfgNode = node
        torch.save({'model': official_backbone, 'config': config}, file)
    assert 'yacs.config' not in sys.modules
    read = read_checkpoint(file)
    assert read['config'] == {'MODEL': {'NAME': 'swin'}}
    assert read['state_dict'].keys() == official_backbone.keys()
    assert not any('weights_only' in record.getMessage() for record in caplog.records)


def test_files_of_other_models_are_read_as_they_are(tmp_path):
    state = {'conv1.weight': torch.zeros(2)}
    for content in (
        {'state_dict': shifted(state), 'state_dict_ema': state},
        {'model_ema': state, 'model': shifted(state)},
        state,
    ):
        torch.save(content, tmp_path / 'weights.pth')
        read = CheckpointLoader.load_checkpoint(str(tmp_path / 'weights.pth'))
        assert str(read) == str(content)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'no such checkpoint file'),
        (b'', 'empty'),
        (b'<html>404</html>' * 50, 'no PyTorch or safetensors file, it begins with'),
        ('truncated', 'not readable as a PyTorch checkpoint'),
        ([1, 2, 3], 'list without weights'),
        ({'epoch': 3}, 'dict without weights'),
    ],
)
def test_unreadable_files_give_one_sentence(content, reason, official_backbone, tmp_path):
    file = tmp_path / 'weights.pth'
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content == 'truncated':
        torch.save(official_backbone, file)
        file.write_bytes(file.read_bytes()[:10000])
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(CheckpointFileError, match=reason) as caught:
        read_checkpoint(file)
    assert '\n' not in str(caught.value) and str(file) in str(caught.value)
    if not isinstance(content, dict):
        model = AFFormer(init_cfg={'type': 'Pretrained', 'checkpoint': str(file)})
        with pytest.raises(CheckpointFileError, match=reason):
            model.init_weights()
