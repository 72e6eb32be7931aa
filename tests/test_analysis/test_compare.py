"""The benchmark: turns, ratios, variants and memory, on networks that take no time."""

import json
import time
from functools import partial

import pytest
import torch
from torch import nn

from mmvit_plugins.analysis import compare
from mmvit_plugins.analysis.benchmark import Variant, format_benchmark
from mmvit_plugins.registry import MODELS

ARCH = (
    'arch=dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2, '
    'windows={3: 2})'
)
CALLS = []


@MODELS.register_module()
class Sleeper(nn.Module):
    """A network that takes a known time and a known amount of memory, and writes down its runs."""

    def __init__(self, seconds, megabytes=1):
        super().__init__()
        self.seconds, self.megabytes = seconds, megabytes
        self.weight = nn.Parameter(torch.zeros(2**18))  # 1 MiB

    def forward(self, x):
        CALLS.append((self.seconds, tuple(x.shape), torch.is_autocast_enabled(x.device.type)))
        time.sleep(self.seconds)
        scratch = torch.empty(self.megabytes * 2**18)
        return x + scratch[0] * 0


@pytest.fixture
def sleepers(tmp_path):
    CALLS.clear()
    paths = []
    for name, arguments in dict(short='seconds=0.01', long='seconds=0.03, megabytes=8').items():
        paths.append(str(tmp_path / f'{name}.py'))
        with open(paths[-1], 'w') as file:
            file.write(f"model = dict(type='mmvit_plugins.Sleeper', {arguments})\n")
    return paths


@pytest.fixture
def afformer(tmp_path):
    path = tmp_path / 'afformer.py'
    path.write_text(f"model = dict(type='mmvit_plugins.AFFormer', {ARCH})\n")
    return str(path)


def test_candidates_take_turns(sleepers):
    result = compare(sleepers, shape=(8, 12), batch_size=2, repeats=8, warmup=2, inner=3)
    names = {0: 0.01, 1: 0.03}
    expected = [0.01] * 2 + [0.03] * 2
    for turn in result['order']:
        assert sorted(turn) == [0, 1]
        expected += [names[i] for i in turn for _ in range(3)]
    expected += [0.01, 0.03]  # memory
    assert [seconds for seconds, *_ in CALLS] == expected
    assert {shape for _, shape, _ in CALLS} == {(2, 3, 8, 12)}
    assert len({tuple(turn) for turn in result['order']}) == 2  # not always the same one first

    short, long = result['results']
    assert len(short['seconds']) == len(long['seconds']) == 8
    assert short['latency_ms']['median'] >= 10
    assert long['images_per_second'] == pytest.approx(2000 / long['latency_ms']['median'])
    assert short['ratio'] == dict(median=1, q1=1, q3=1)
    assert long['ratio']['q1'] <= long['ratio']['median'] <= long['ratio']['q3']
    assert 1.2 < long['ratio']['median'] < 5
    ratios = [b / a for a, b in zip(short['seconds'], long['seconds'], strict=True)]
    assert min(ratios) <= long['ratio']['median'] <= max(ratios)


def test_memory_is_weights_and_peak(sleepers):
    result = compare(sleepers, shape=(8, 8), repeats=1, warmup=1)
    short, long = (r['peak_memory_bytes'] / 2**20 for r in result['results'])
    assert short == pytest.approx(1 + 1, abs=0.1)
    assert long == pytest.approx(1 + 8, abs=0.1)


def test_result_is_json_and_a_table(sleepers):
    result = compare(sleepers, shape=(8,), repeats=2, warmup=1, threads=1)
    again = json.loads(json.dumps(result))
    assert again == result
    assert set(result) == {
        *('date', 'machine', 'device', 'threads', 'shape', 'batch_size', 'backbone_only'),
        *('repeats', 'warmup', 'inner', 'seed', 'order', 'results'),
    }
    assert set(result['results'][0]) == {
        *('config', 'variant', 'mode', 'parameters', 'latency_ms', 'images_per_second'),
        *('ratio', 'peak_memory_bytes', 'seconds'),
    }
    assert result['shape'] == [8, 8]
    assert result['threads'] == 1
    assert result['machine']['torch'] == torch.__version__
    lines = format_benchmark(result).splitlines()
    rows = [line for line in lines if line.startswith('|')]
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1
    assert rows[2].startswith('| short ') and rows[3].startswith('| long ')


def test_number_of_threads_is_put_back(sleepers):
    before = torch.get_num_threads()
    assert compare(sleepers[:1], shape=(8,), repeats=1, warmup=1, threads=3)['threads'] == 3
    assert torch.get_num_threads() == before


def test_variants_side_by_side(afformer, sleepers, monkeypatch):
    compiled = []

    def compile_(function, **kwargs):
        compiled.append(function)
        return real(function, backend='eager', **kwargs)

    real = torch.compile
    monkeypatch.setattr(torch, 'compile', compile_)
    variants = ['eager', 'deploy', 'deploy+channels_last+compile', 'bfloat16']
    result = compare([afformer, sleepers[0]], (32, 48), variants=variants, repeats=1, warmup=1)
    lines = [(r['config'] == afformer, r['variant']) for r in result['results']]
    # the sleeper has no deploy form, so that line would be eager once more
    assert lines == [
        *((True, variant) for variant in variants),
        *((False, variant) for variant in ('eager', 'channels_last+compile', 'bfloat16')),
    ]
    parameters = {r['variant']: r['parameters'] for r in result['results'][:4]}
    assert parameters['eager'] == parameters['bfloat16'] != parameters['deploy']
    assert parameters['deploy'] == parameters['deploy+channels_last+compile']
    assert compiled[0].deployed
    assert compiled[0].stem[0].conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert len(compiled) == 2
    assert {autocast for *_, autocast in CALLS} == {False, True}


def test_predict_path_of_hosts(tmp_path):
    heads = dict(
        mmseg="'EncoderDecoder', test_cfg=dict(mode='whole'), "
        "decode_head=dict(type='mmvit_plugins.AFFormerHead', in_channels=8, "
        'channels=32, num_classes=4)',
        mmpretrain="'ImageClassifier', neck=dict(type='GlobalAveragePooling'), "
        "head=dict(type='LinearClsHead', in_channels=8, num_classes=4)",
    )
    configs = []
    for scope, head in heads.items():
        backbone = f"dict(type='mmvit_plugins.AFFormer', {ARCH}, in_channels=5"
        backbone += ')' if scope == 'mmseg' else ', out_indices=(3,))'
        configs.append(str(tmp_path / f'{scope}.py'))
        with open(configs[-1], 'w') as file:
            file.write(
                f'default_scope = {scope!r}\nmodel = dict(type={head}, backbone={backbone})\n'
            )
    result = compare(configs, (32, 40), modes=('tensor', 'predict'), repeats=2, warmup=1)
    assert [r['mode'] for r in result['results']] == ['tensor', 'predict'] * 2
    # every mode is compared with its own first line
    assert [r['ratio']['median'] == 1 for r in result['results']] == [True, True, False, False]

    with pytest.raises(ValueError, match="AFFormer is no complete model, so mode='predict'"):
        compare(configs, (32,), modes=('predict',), backbone_only=True)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(variants=['depoly']), "'depoly' is unknown; join any of eager, deploy"),
        (dict(modes=['loss']), 'loss.* is unknown; choose from'),
        (dict(device='tpu'), "device='tpu'"),
        (dict(repeats=0), 'repeats=0 is not allowed'),
        (dict(threads=0), 'threads=0 is not allowed'),
        (dict(shape=(0, 4)), 'height, width'),
        (dict(configs=[]), 'name at least one config'),
    ],
)
def test_unusable_arguments(sleepers, arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(**{'configs': sleepers, **arguments})
    assert not CALLS


def test_missing_gpu_is_said(sleepers, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match="asks for a GPU, but torch sees none; use 'cpu'"):
        compare(sleepers, device='cuda:0')


def test_variant_words():
    base = Variant(deploy=True, dtype='bfloat16')
    assert str(Variant.parse('eager')) == 'eager'
    assert Variant.parse('eager', base) == base
    assert str(Variant.parse('compile+float16', base)) == 'deploy+compile+float16'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_on_a_gpu(afformer):
    result = partial(compare, [afformer], (64, 64), repeats=2, device='cuda')(
        variants=['eager', 'bfloat16']
    )
    assert result['machine']['gpu']
    for line in result['results']:
        assert line['latency_ms']['median'] > 0
        assert line['peak_memory_bytes'] > 4 * line['parameters']
