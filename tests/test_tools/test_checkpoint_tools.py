"""``convert_checkpoint.py`` and ``publish_checkpoint.py`` as a user runs them."""

import argparse
import runpy
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer
from recipe import Golden
from torch import nn

from mmvit_plugins.models import AFFormer, SGFormer


@pytest.fixture
def tool(repo_root, tmp_path, monkeypatch, capsys):
    """Run a tool in this process, from another folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

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
