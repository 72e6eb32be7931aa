"""Files of weights are read as data: nothing of theirs runs, and what is damaged is noticed."""

import argparse
import copy
import io
import json
import os
import pickle
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from safetensors.torch import save_file
from torch import nn

from mmvit_plugins.checkpoint import (
    CheckpointFileError,
    CheckpointMismatchError,
    convert_file,
    fitting_meta,
    publish_file,
    read_checkpoint,
    whole,
)
from mmvit_plugins.checkpoint.plain import TRUST, load_plain
from mmvit_plugins.checkpoint.reading import check_weights
from mmvit_plugins.errors import UserError
from mmvit_plugins.models import AFFormer, T2TViT

ARCH = {
    'embed_dims': (16, 16, 16, 16),
    'depths': (1, 1, 1, 1),
    'num_heads': 2,
    'mlp_ratio': 2,
    'windows': {3: 1, 5: 1},
}


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f'touch {self.mark}',)


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


FORMS = {'zip': torch.save, 'legacy': legacy, 'pickle': plain_pickle}
WAYS = {
    'read_checkpoint': lambda path, url: read_checkpoint(path),
    'init_cfg': lambda path, url: AFFormer(
        ARCH, init_cfg={'type': 'Pretrained', 'checkpoint': path}
    ).init_weights(),
    'load_checkpoint': lambda path, url: load_checkpoint(AFFormer(ARCH), path),
    'a model of others': lambda path, url: load_checkpoint(nn.Linear(2, 2), path),
    'http': lambda path, url: CheckpointLoader.load_checkpoint(url, 'cpu'),
    'convert': lambda path, url: convert_file(path, f'{path}.new', 'official'),
    'publish': lambda path, url: publish_file(path, f'{path}.new'),
}


@pytest.fixture
def address(tmp_path, monkeypatch):
    """The address of a folder that a server gives out on this machine."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('way', WAYS)
def test_no_code_of_a_file_runs(way, form, tmp_path, address):
    mark, path = tmp_path / 'mark', tmp_path / 'evil.pth'
    content = {'state_dict': AFFormer(ARCH).state_dict(), 'meta': {'evil': Evil(mark)}}
    FORMS[form](content, path)
    with pytest.raises(CheckpointFileError) as caught:
        WAYS[way](str(path), f'{address}/evil.pth')
    assert not mark.exists()
    if form != 'pickle':  # torch never wrote those
        assert 'posix.system' in str(caught.value)
        assert TRUST in str(caught.value)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_the_switch_reads_what_is_trusted(form, tmp_path, monkeypatch):
    mark, path = tmp_path / 'mark', tmp_path / 'trusted.pth'
    FORMS[form]({'state_dict': {'x': torch.ones(2)}, 'more': Evil(mark)}, path)
    monkeypatch.setenv(TRUST, '1')
    assert torch.equal(load_plain(path)['state_dict']['x'], torch.ones(2))
    assert mark.exists()


def test_getattr_of_a_pickle_reaches_nothing_but_the_log(tmp_path):
    """mmengine's list has the bare ``getattr``, which leads to every module of the process."""

    class Reach:
        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save({'state_dict': {'x': torch.ones(1)}, 'y': Reach()}, tmp_path / 'reach.pth')
    with pytest.raises(CheckpointFileError):
        load_plain(tmp_path / 'reach.pth')


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_what_honest_files_hold_is_read(form, tmp_path):
    log = HistoryBuffer()
    log.update(1.0)
    log.update(3.0)
    content = {
        'state_dict': {'x': torch.arange(3.0)},
        'args': argparse.Namespace(lr=1e-3, out=Path('/a/b')),
        'log': log,
        'scalar': np.float64(2.5),
        'array': np.arange(4, dtype=np.int16),
        'names': np.array(['a', 'bc']),
        'dtype': np.dtype('float32'),
    }
    FORMS[form](content, tmp_path / 'x.pth')
    for source in (tmp_path / 'x.pth', io.BytesIO((tmp_path / 'x.pth').read_bytes())):
        found = load_plain(source)
        assert torch.equal(found['state_dict']['x'], torch.arange(3.0))
        assert (found['args'].lr, found['args'].out) == (1e-3, PurePosixPath('/a/b'))
        assert found['log'].mean() == 2.0
        assert found['scalar'] == 2.5
        assert found['array'].tolist() == [0, 1, 2, 3]
        assert found['names'].tolist() == ['a', 'bc']


def flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 64]) + data[middle + 1 :]


DAMAGES = {
    'empty': (lambda data: b'', 'empty'),
    'text': (lambda data: b'<html>404</html>' * 9, 'begins with'),
    'cut': (lambda data: data[:-200], 'truncated'),
    'flipped': (flipped, 'checksum'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damage_is_noticed(damage, tmp_path):
    path = tmp_path / 'x.pth'
    torch.save({'state_dict': {'x': torch.rand(1000)}}, path)
    change, word = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointFileError, match=word):
        load_plain(path)


def test_other_archives_never_reach_the_unpickler(tmp_path):
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('a.txt', 'x')
    with pytest.raises(CheckpointFileError, match='none of PyTorch'):
        load_plain(tmp_path / 'x.pth')
    with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
        archive.writestr('x/data.pkl', 'x')
        archive.writestr('x/constants.pkl', 'x')
    with pytest.raises(CheckpointFileError, match='TorchScript'):
        load_plain(tmp_path / 'x.pth')


def test_the_config_in_a_checkpoint_never_runs(tmp_path):
    """mmengine executes ``meta['config']`` when it resumes."""
    torch.save(
        {'state_dict': {'x': torch.ones(1)}, 'meta': {'config': 'import os', 'iter': 3}},
        tmp_path / 'x.pth',
    )
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'x.pth'), 'cpu')
    assert found['meta'] == {'iter': 3}


WEIGHTS = {
    'nan': (lambda w: w * torch.nan, 'not finite'),
    'one infinite': (lambda w: torch.cat([w[:1] / 0, w[1:]]), 'not finite'),
    'complex': (lambda w: w.to(torch.complex64), 'complex'),
    'integer': (lambda w: w.long(), 'integers'),
    'meta': (lambda w: w.to('meta'), 'no data'),
    'no number': (lambda w: w[:0], 'no number'),
    'quantised': (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), 'quantised'),
    'array': (lambda w: w.numpy(), 'array of NumPy'),
    'sparse nan': (lambda w: (w * torch.nan).to_sparse(), 'not finite'),
}


@pytest.mark.parametrize('kind', WEIGHTS)
def test_weights_that_mean_nothing_are_refused(kind, tmp_path):
    change, word = WEIGHTS[kind]
    state = AFFormer(ARCH).state_dict()
    key = 'stem.0.conv.weight'
    state[key] = change(state[key] + 1)
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    for load in (read_checkpoint, partial(load_checkpoint, AFFormer(ARCH))):
        with pytest.raises(CheckpointFileError, match=f'{key}.*{word}'):
            load(str(tmp_path / 'x.pth'))


def test_weights_that_are_right_pass():
    state = {
        'a.weight': torch.ones(2).half(),
        'b.weight': torch.ones(2).bfloat16(),
        'c.weight': torch.ones(2, 2).to_sparse(),
        'attn_mask': torch.full((2, 2), -torch.inf),
        'relative_position_index': torch.arange(4),
        'n.num_batches_tracked': torch.tensor(3),
        'wide.weight': torch.ones(1).expand(1 << 40),  # of one number
    }
    check_weights(state, 'x')


def save(state, path):
    if path.suffix == '.safetensors':
        save_file({k: v.contiguous() for k, v in state.items()}, path)
    else:
        torch.save({'state_dict': state}, path)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_convert_and_publish_keep_the_numbers(ending, tmp_path):
    """There and back, through either kind of file."""
    model = AFFormer('tiny')
    source = tmp_path / f'ours{ending}'
    save(model.state_dict(), source)
    official = tmp_path / f'official{ending}'
    convert_file(source, official, 'official')
    convert_file(official, tmp_path / f'back{ending}')
    report = publish_file(tmp_path / f'back{ending}', tmp_path / f'published{ending}')
    published = report.partition(': ')[0]
    assert published.endswith(ending)
    found = read_checkpoint(published)['state_dict']
    for key, value in model.state_dict().items():
        assert torch.equal(found[key], value), key
    meta = read_checkpoint(tmp_path / f'back{ending}')['meta']
    assert meta['converted_from']['file'] == f'official{ending}'
    other = AFFormer('tiny', init_cfg={'type': 'Pretrained', 'checkpoint': str(official)})
    other.init_weights()
    assert torch.equal(other.state_dict()['stem.0.conv.weight'], found['stem.0.conv.weight'])
    assert not list(tmp_path.glob('.*'))


def test_meta_goes_through_safetensors(tmp_path):
    meta = {'dataset_meta': {'classes': ['a', 'b'], 'palette': [[1, 2, 3], [4, 5, 6]]}}
    torch.save({'state_dict': {'x': torch.ones(2)}, 'meta': meta}, tmp_path / 'x.pth')
    file = publish_file(tmp_path / 'x.pth', tmp_path / 'y.safetensors').partition(': ')[0]
    assert json.loads(json.dumps(read_checkpoint(file)['meta'])) == meta


def classifier(classes=3, **head):
    model = nn.Module()
    model.backbone = AFFormer(ARCH)
    model.head = nn.Linear(16, classes)
    model.head.num_classes = classes
    return model


@pytest.mark.parametrize('part', ['head', 'backbone.stages.2'])
def test_a_file_that_leaves_a_part_random_is_refused(part, tmp_path):
    state = classifier().state_dict()
    short = {k: v for k, v in state.items() if not k.startswith(part)}
    torch.save({'state_dict': short}, tmp_path / 'x.pth')
    model, path = classifier(), str(tmp_path / 'x.pth')
    with pytest.raises(CheckpointMismatchError), whole(model, path):
        load_checkpoint(model, path)


def test_a_file_for_other_classes_is_refused_and_said(tmp_path):
    torch.save({'state_dict': classifier(5).state_dict()}, tmp_path / 'x.pth')
    model, path = classifier(3), str(tmp_path / 'x.pth')
    with pytest.raises(CheckpointMismatchError, match='3 classes against 5'), whole(model, path):
        load_checkpoint(model, path)


def test_a_whole_file_passes_and_loads(tmp_path):
    first, second = classifier(), classifier()
    torch.save({'state_dict': first.state_dict()}, tmp_path / 'x.pth')
    with whole(second, str(tmp_path / 'x.pth')):
        load_checkpoint(second, str(tmp_path / 'x.pth'))
    state = second.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in first.state_dict().items())


def test_odd_versions_of_modules_are_left_out(tmp_path):
    """torch hands what a state dict carries as ``_metadata`` to each module."""
    state = AFFormer(ARCH).state_dict()
    state._metadata = {'': {'version': 1}, 'stages': 'text'}
    torch.save({'state_dict': state}, tmp_path / 'x.pth')
    model = AFFormer(ARCH)
    load_checkpoint(model, str(tmp_path / 'x.pth'))
    assert torch.equal(model.state_dict()['stem.0.conv.weight'], state['stem.0.conv.weight'])


@pytest.mark.parametrize('target', ['', '..', '/dev/null'])
def test_what_is_no_file_is_no_target(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'state_dict': {'x.weight': torch.ones(2)}}, 'x.pth')
    with pytest.raises(UserError, match='is no file'):
        publish_file('x.pth', target)


@pytest.mark.parametrize(
    'average',
    [[1], {}, {'module.y': torch.ones(1)}, {'module.x.weight': torch.tensor([torch.nan])}],
)
def test_averages_that_are_none_are_not_published(average, tmp_path):
    content = {'state_dict': {'x.weight': torch.ones(2)}, 'ema_state_dict': average}
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(CheckpointFileError):
        publish_file(tmp_path / 'x.pth', tmp_path / 'y.pth', ema=True)


def test_names_of_other_classes_are_left_out():
    meta = {'classes': ('a', 'b'), 'palette': None}
    assert fitting_meta(classifier(2), {'meta': {'dataset_meta': meta}}, 'x') == meta
    assert fitting_meta(classifier(3), {'meta': {'dataset_meta': meta}}, 'x') == {}
    for names in (7, 'letters', '/etc/passwd'):
        assert (
            fitting_meta(classifier(7), {'meta': {'dataset_meta': {'classes': names}}}, 'x') == {}
        )
    for broken in (None, [1], 'text', {'dataset_meta': 7}):
        assert fitting_meta(classifier(3), {'meta': broken}, 'x') == {}


@pytest.mark.parametrize('pair', [('14', 't_14'), ('t_14', '14')])
def test_performer_and_transformer_are_no_files_of_each_other(pair):
    state = T2TViT(pair[0]).state_dict()
    with pytest.raises(CheckpointMismatchError, match=f"the variant '{pair[0]}'"):
        T2TViT(pair[1]).load_state_dict(copy.copy(state))


@pytest.mark.parametrize('change', [torch.flatten, torch.sum, lambda x: x[None]])
def test_tensors_of_other_axes_are_told_by_their_size(change):
    state = {key: change(value) for key, value in AFFormer('tiny').state_dict().items()}
    with pytest.raises(CheckpointMismatchError, match='another size'):
        AFFormer('tiny').load_state_dict(state)
