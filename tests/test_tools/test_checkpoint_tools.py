"""``convert_checkpoint.py`` and ``publish_checkpoint.py`` as a user runs them."""

import argparse
import re
import runpy
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmpretrain.registry import MODELS as PRETRAIN
from recipe import Golden
from torch import nn

from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.models import AFFormer, SGFormer, SwinTransformer


@pytest.fixture
def tool(repo_root, tmp_path, monkeypatch, capsys):
    """Run a tool in this process, from another folder; return what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(repo_root / 'tools')

    def call(name, *args, ok=True):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        try:
            runpy.run_path(str(repo_root / 'tools' / name), run_name='__main__')
            code = 0
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        assert code == (0 if ok else 2), printed.err
        return printed.out if ok else printed.err.strip().splitlines()[-1]

    return call


# What the authors' scripts wrote around the weights: mmcv 1.x, and timm with averaged weights.
FILES = {
    'afformer_base': lambda state: {
        'meta': {'iter': 5},
        'state_dict': state,
        'optimizer': {'state': {}},
    },
    'sgformer_s': lambda state: {
        'args': argparse.Namespace(lr=1e-3),
        'state_dict': {key: value + 1 for key, value in state.items()},
        'state_dict_ema': state,
    },
}


@pytest.fixture
def official(request, tmp_path):
    """A file of the authors of the golden file that the test names, or of AFFormer."""
    name = getattr(request, 'param', 'afformer_base')
    file = tmp_path / 'authors.pth'
    torch.save(FILES[name](Golden(name).state), file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize(
    ('official', 'model', 'found', 'meta'),
    [
        (
            'afformer_base',
            lambda: nn.ModuleDict({'backbone': AFFormer('base')}),
            "AFFormer 'base', 333 tensors from 476",
            {'iter': 5},
        ),
        ('sgformer_s', lambda: SGFormer('small'), "SGFormer 'small', 603 tensors from 669", {}),
    ],
    indirect=['official'],
    ids=['AFFormer', 'SGFormer'],
)
def test_convert_there_and_back(official, model, found, meta, tool, tmp_path, request):
    name = request.node.callspec.params['official']
    out = tool('convert_checkpoint.py', official, tmp_path / 'ours.pth')
    assert found in out
    ours = torch.load(tmp_path / 'ours.pth', weights_only=True)
    keys = model().load_state_dict(ours['state_dict'], strict=False)
    assert not keys.missing_keys
    assert all(key.startswith(('head.', 'decode_head.')) for key in keys.unexpected_keys)
    source = ours['meta'].pop('converted_from')
    assert source['file'] == 'authors.pth' and len(source['sha256']) == 64
    assert ours['meta'] == meta
    tool('convert_checkpoint.py', tmp_path / 'ours.pth', tmp_path / 'back.pth', '--to', 'official')
    back = torch.load(tmp_path / 'back.pth', weights_only=True)['state_dict']
    state = Golden(name).state
    assert back.keys() == state.keys()
    assert all(torch.equal(back[k], v) for k, v in state.items() if '.align.' not in k)


def test_what_cannot_be_converted_is_named(tool, official, tmp_path):
    torch.save({'conv1.weight': torch.ones(3)}, tmp_path / 'resnet.pth')
    message = tool('convert_checkpoint.py', 'resnet.pth', 'out.pth', ok=False)
    assert message.startswith('error: resnet.pth: holds no weights in a foreign layout')
    assert 'no such checkpoint file' in tool('convert_checkpoint.py', 'none.pth', 'o.pth', ok=False)
    state = torch.load(official, weights_only=True)['state_dict']
    state.pop('backbone.stem.1.bn.weight')
    torch.save(state, tmp_path / 'partial.pth')
    message = tool('convert_checkpoint.py', 'partial.pth', 'out.pth', ok=False)
    assert "fits no variant of AFFormer; against 'base', 1 tensors are missing" in message
    state['backbone.stem.1.bn.weight'] = torch.ones(32)
    state['backbone.stem.2.conv.weight'] = torch.ones(1)
    torch.save(state, tmp_path / 'more.pth')
    message = tool('convert_checkpoint.py', 'more.pth', 'out.pth', ok=False)
    assert "holds AFFormer 'base' and 1 tensors that it does not have" in message
    assert not (tmp_path / 'out.pth').exists()


def classifier_file(name, file, classes=50):
    """Write an official classifier; each tensor is one number, the rows of the head are counted."""
    cls = {'AFFormer': AFFormer, 'SwinTransformer': SwinTransformer}[name]
    with torch.device('meta'):
        model = cls(out_indices=(3,))
    ours = {
        key: torch.tensor(i / 8).expand(value.shape)
        for i, (key, value) in enumerate(model.state_dict().items())
    }
    head = {'AFFormer': 'cls_head.cls.', 'SwinTransformer': 'head.'}[name]
    rows = torch.arange(classes).float()
    state = CONVERTERS[name][0].from_ours(ours) | {
        f'{head}weight': rows[:, None].repeat(1, model.out_channels[-1]),
        f'{head}bias': rows + 0.5,
    }
    torch.save({'model': state, 'meta': {'dataset_meta': {'classes': ('many',)}}}, file)
    return state


def read(file):
    return torch.load(file, weights_only=True)['state_dict']


def equal(state, expected):
    return state.keys() == expected.keys() and all(
        torch.equal(state[key], value) for key, value in expected.items()
    )


def test_layouts_of_other_code(tool, tmp_path):
    state = classifier_file('SwinTransformer', tmp_path / 'official.pth')
    line = tool('convert_checkpoint.py', 'official.pth', 'mm.pth', '--to', 'mmpretrain')
    assert "SwinTransformer 'tiny', 185 tensors from 190, from official Swin, to mmpretrain" in line
    model = PRETRAIN.build(
        {
            'type': 'mmpretrain.ImageClassifier',
            'backbone': {'type': 'mmpretrain.SwinTransformer', 'arch': 'tiny'},
            'neck': {'type': 'mmpretrain.GlobalAveragePooling'},
            'head': {
                'type': 'mmpretrain.LinearClsHead',
                'num_classes': 50,
                'in_channels': 768,
                'loss': {'type': 'mmpretrain.CrossEntropyLoss'},
            },
            'data_preprocessor': {'type': 'mmpretrain.ClsDataPreprocessor'},
        }
    )
    model.load_state_dict(read('mm.pth'))
    assert torch.equal(model.head.fc.bias, state['head.bias'])
    tool('convert_checkpoint.py', 'mm.pth', 'ours.pth')
    tool('convert_checkpoint.py', 'ours.pth', 'timm.pth', '--to', 'timm')
    timm = read('timm.pth')
    assert torch.equal(timm['head.fc.weight'], state['head.weight'])
    merges = [key for key in timm if key.endswith('downsample.reduction.weight')]
    assert merges == [f'layers.{i}.downsample.reduction.weight' for i in (1, 2, 3)]
    assert not any(key.endswith(('index', 'mask')) or key.startswith('backbone') for key in timm)
    line = tool('convert_checkpoint.py', 'timm.pth', 'back.pth', '--to', 'official')
    assert 'from timm Swin, to official Swin' in line
    assert equal(read('back.pth'), state)


def test_a_layout_that_a_model_has_not_is_named(tool, tmp_path):
    classifier_file('AFFormer', tmp_path / 'official.pth')
    message = tool('convert_checkpoint.py', 'official.pth', 'o.pth', '--to', 'timm', ok=False)
    assert "official.pth: holds no weights with a layout 'timm'; known are official AFF" in message
    assert not (tmp_path / 'o.pth').exists()


@pytest.mark.parametrize(
    ('name', 'to', 'key'),
    [
        ('AFFormer', 'ours', 'cls_head.cls.'),
        ('SwinTransformer', 'official', 'head.'),
        ('SwinTransformer', 'mmpretrain', 'head.fc.'),
    ],
)
def test_classes_are_chosen_by_their_indices(name, to, key, tool, tmp_path):
    classifier_file(name, tmp_path / 'many.pth')
    (tmp_path / 'map.txt').write_text('7\n49\n0\n7\n')
    args = ('convert_checkpoint.py', 'many.pth', 'few.pth', '--to', to, '--class-map', 'map.txt')
    assert '4 of 50 classes, from official ' in tool(*args)
    few, chosen = torch.load('few.pth', weights_only=True), torch.tensor([7.0, 49.0, 0.0, 7.0])
    weight = few['state_dict'][f'{key}weight']
    assert weight.shape[0] == 4 and (weight == chosen[:, None]).all()
    assert torch.equal(few['state_dict'][f'{key}bias'], chosen + 0.5)
    assert few['meta']['converted_from']['class_map'] == 'map.txt'
    assert 'dataset_meta' not in few['meta']
    (tmp_path / 'map.txt').write_text('3\n1')
    tool('convert_checkpoint.py', 'few.pth', 'two.pth', '--class-map', 'map.txt')
    assert read('two.pth')[f'{key}bias'].tolist() == [7.5, 49.5]


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('0\n50\n', "line 2 is '50', but the index of one of the 50 classes of head.weight, 0..49"),
        ('-1\n', "line 1 is '-1'"),
        ('1\n\n2\n', "line 2 is ''"),
        ('1 2\n', "line 1 is '1 2'"),
        ('cat\n', "line 1 is 'cat'"),
        ('\n', 'empty, where one index a line is needed'),
        (b'\x80\x04\x95', 'not readable as a text file'),
        (None, 'not readable as a text file: .*No such file'),
    ],
)
def test_what_is_no_class_map_is_named(content, reason, tool, tmp_path):
    classifier_file('SwinTransformer', tmp_path / 'many.pth')
    if content is not None:
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / 'map.txt').write_bytes(content)
    args = ('convert_checkpoint.py', 'many.pth', 'few.pth', '--class-map', 'map.txt')
    message = tool(*args, ok=False)
    assert re.match(f'error: map.txt: {reason}', message)
    assert not (tmp_path / 'few.pth').exists()


def test_classes_of_no_classifier_cannot_be_chosen(tool, tmp_path):
    state = classifier_file('SwinTransformer', tmp_path / 'many.pth')
    (tmp_path / 'map.txt').write_text('0\n')
    for content in (
        {k: v for k, v in state.items() if not k.startswith('head.')},
        {'conv1.weight': torch.ones(3)},
    ):
        torch.save(content, tmp_path / 'none.pth')
        args = ('convert_checkpoint.py', 'none.pth', 'few.pth', '--class-map', 'map.txt')
        message = tool(*args, ok=False)
        assert message == 'error: none.pth: holds no classifier whose classes could be chosen'


def test_publish_strips_and_names_by_content(tool, tmp_path):
    """The history of a run (mmengine's HistoryBuffer) is what weights_only=True refuses to read."""
    state = AFFormer().state_dict()
    averaged = {f'module.{k}': v + 1 for k, v in state.items()} | {'steps': torch.tensor(3)}
    run = {
        'meta': {'cfg': 'a = 1', 'dataset_meta': {'classes': ('a', 'b')}, 'seed': 3},
        'state_dict': state,
        'ema_state_dict': averaged,
        'optimizer': {'state': {0: torch.ones(10)}},
        'message_hub': {'log_scalars': {'loss': HistoryBuffer([1.0], [1])}},
    }
    torch.save(run, tmp_path / 'iter_9.pth')
    with pytest.raises(Exception, match='weights_only'):
        torch.load(tmp_path / 'iter_9.pth', weights_only=True)
    tool('publish_checkpoint.py', 'iter_9.pth', 'model.pth')
    (file,) = tmp_path.glob('model-*.pth')
    published = torch.load(file, weights_only=True)
    assert published.keys() == {'meta', 'state_dict'}
    assert published['meta']['dataset_meta'] == {'classes': ('a', 'b')}
    assert all(torch.equal(published['state_dict'][k], v) for k, v in state.items())
    tool('publish_checkpoint.py', 'iter_9.pth', 'ema/model.pth', '--ema')
    (file,) = (tmp_path / 'ema').glob('model-*.pth')
    published = torch.load(file, weights_only=True)['state_dict']
    assert published.keys() == state.keys()
    assert torch.equal(published['stem.0.conv.weight'], state['stem.0.conv.weight'] + 1)
