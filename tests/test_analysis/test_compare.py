"""The benchmark: turns, ratios, variants and memory, on networks that take no time."""

import json
import time
from functools import partial

import pytest
import torch
from torch import nn

from mmvit_plugins.analysis import compare, count_config
from mmvit_plugins.analysis.benchmark import Variant
from mmvit_plugins.analysis.report import format_benchmark
from mmvit_plugins.registry import MODELS

ARCH = (
    'arch=dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2, '
    'windows={3: 2})'
)
CALLS, TRAINING = [], []


@MODELS.register_module()
class Sleeper(nn.Module):
    """A network that takes a known time and a known amount of memory, and writes down its runs."""

    def __init__(self, seconds, megabytes=1):
        super().__init__()
        self.seconds, self.megabytes = seconds, megabytes
        self.weight = nn.Parameter(torch.zeros(2**18))  # 1 MiB

    def forward(self, x):
        shape = tuple(map(int, x.shape))  # while FLOPs are counted they are tensors
        CALLS.append((self.seconds, shape, torch.is_autocast_enabled(x.device.type)))
        TRAINING.append((self.training, torch.is_grad_enabled(), self.weight.grad is None))
        time.sleep(self.seconds)
        scratch = torch.empty(self.megabytes * 2**18)
        return x + self.weight[0] + scratch[0] * 0


@MODELS.register_module()
class Keeper(nn.Module):
    """A network whose backward pass needs a known amount of memory: one map of each step."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.weight = nn.Parameter(torch.zeros(2**18))  # 1 MiB

    def forward(self, x):
        y = self.weight
        for _ in range(self.steps):
            y = y.sin()
        return (y + x.mean(),)


@MODELS.register_module()
class Normed(nn.Module):
    """A backbone and a layer norm of its last map."""

    def __init__(self, inner):
        super().__init__()
        self.inner = MODELS.build(inner)
        self.norm = nn.LayerNorm(self.inner.out_channels[-1])

    def forward(self, x):
        return self.norm(self.inner(x)[-1].permute(0, 2, 3, 1))


class OneSize(nn.Module):
    """A network that takes images of one size only."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(*size))

    def forward(self, x):
        return x + self.weight


@pytest.fixture
def sleepers(tmp_path):
    CALLS.clear()
    TRAINING.clear()
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
    result = compare(sleepers, [(8, 12)], batch_size=2, repeats=8, warmup=2, inner=3)
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
    result = compare(sleepers, [(8, 8)], repeats=1, warmup=1)
    short, long = (r['peak_memory_bytes'] / 2**20 for r in result['results'])
    assert short == pytest.approx(1 + 1, abs=0.1)
    assert long == pytest.approx(1 + 8, abs=0.1)


def test_memory_of_training_holds_what_the_backward_pass_needs(tmp_path):
    path = tmp_path / 'keeper.py'
    path.write_text("model = dict(type='mmvit_plugins.Keeper', steps=20)\n")
    result = compare([str(path)], [8], modes=('tensor', 'train'), repeats=1, warmup=1)
    forward, both = (r['peak_memory_bytes'] / 2**20 for r in result['results'])
    assert forward == pytest.approx(1 + 2, abs=0.1)  # weights, a map and the next one
    # weights, 20 maps, and the few that the loss and the gradients add
    assert 1 + 20 < both < 1 + 20 + 5


def test_training_is_forward_and_backward(sleepers):
    result = compare(sleepers, [8], modes=('tensor', 'train'), repeats=2, warmup=1)
    assert [r['mode'] for r in result['results']] == ['tensor', 'train'] * 2
    assert [r['ratio']['median'] == 1 for r in result['results']] == [True, True, False, False]
    # in training mode with gradients or neither, and no run finds the gradients of another
    assert set(TRAINING) == {(False, False, True), (True, True, True)}
    assert sum(training for training, *_ in TRAINING) == len(TRAINING) / 2


def test_gradients_reach_the_first_layer(afformer, monkeypatch):
    """Through a last layer norm as well, which passes no gradient of a mean or a mean square."""
    reached = []

    def zero_grad(self):
        reached.append(next(self.parameters()).grad.abs().max())
        return real(self)

    real = nn.Module.zero_grad
    monkeypatch.setattr(nn.Module, 'zero_grad', zero_grad)
    with open(afformer, 'a') as file:
        file.write("model = dict(type='mmvit_plugins.Normed', inner=model)\n")
    compare([afformer], [64], batch_size=2, modes=['train'], repeats=1, warmup=1)
    assert len(reached) == 3  # warm-up, round, memory
    assert min(reached) > 1e-3


def test_sizes_in_one_run(sleepers):
    """Sizes take turns like configs, and each is compared with the first config at that size."""
    result = compare(sleepers, [8, (8, 16), (8, 8)], flops=True, repeats=2, warmup=1)
    assert result['shapes'] == [[8, 8], [8, 16]]  # one of the three says what another said
    lines = [(r['config'], r['shape']) for r in result['results']]
    assert lines == [(config, shape) for config in sleepers for shape in result['shapes']]
    assert [r['ratio']['median'] == 1 for r in result['results']] == [True, True, False, False]
    assert all(sorted(turn) == [0, 1, 2, 3] for turn in result['order'])
    assert {shape for _, shape, _ in CALLS} == {(1, 3, 8, 8), (1, 3, 8, 16)}
    rows = format_benchmark(result).splitlines()
    assert [row.split('|')[4].strip() for row in rows if 'tensor |' in row] == ['8x8', '8x16'] * 2


def test_flops_are_those_of_the_mode(tmp_path, afformer):
    segmentor = tmp_path / 'segmentor.py'
    segmentor.write_text(
        "default_scope = 'mmseg'\nmodel = dict(type='EncoderDecoder', test_cfg=dict(mode='whole'), "
        f"backbone=dict(type='mmvit_plugins.AFFormer', {ARCH}), decode_head=dict("
        "type='mmvit_plugins.AFFormerHead', in_channels=8, channels=32, num_classes=4))\n"
    )
    counted = count_config(segmentor, (32, 40))
    resize = counted['parts'][-1]['flops']
    modes = ('tensor', 'predict')
    results = compare([segmentor], [(32, 40)], modes=modes, flops=True, repeats=1)['results']
    assert [r['flops'] for r in results] == [counted['flops'] - resize, counted['flops']]
    assert resize == 4 * 4 * 32 * 40
    text = format_benchmark(compare([afformer], [32], flops=True, repeats=1, warmup=1))
    assert ' GFLOPs |' in text and 'GFLOPs: one image' in text


def test_result_is_json_and_a_table(sleepers):
    result = compare(sleepers, [(8,)], repeats=2, warmup=1, threads=1)
    again = json.loads(json.dumps(result))
    assert again == result
    assert set(result) == {
        *('date', 'machine', 'device', 'threads', 'shapes', 'batch_size', 'backbone_only'),
        *('repeats', 'warmup', 'inner', 'seed', 'order', 'results'),
    }
    assert set(result['results'][0]) == {
        *('config', 'variant', 'mode', 'shape', 'parameters', 'flops', 'latency_ms'),
        *('images_per_second', 'ratio', 'peak_memory_bytes', 'seconds'),
    }
    assert result['shapes'] == [[8, 8]]
    assert result['results'][0]['flops'] is None
    assert result['threads'] == 1
    assert result['machine']['torch'] == torch.__version__
    lines = format_benchmark(result).splitlines()
    rows = [line for line in lines if line.startswith('|')]
    assert len(rows) == 4
    assert len({len(row) for row in rows}) == 1
    assert rows[2].startswith('| short ') and rows[3].startswith('| long ')


def test_number_of_threads_is_put_back(sleepers):
    before = torch.get_num_threads()
    assert compare(sleepers[:1], [8], repeats=1, warmup=1, threads=3)['threads'] == 3
    assert torch.get_num_threads() == before


def test_variants_side_by_side(afformer, sleepers, monkeypatch):
    compiled = []

    def compile_(function, **kwargs):
        compiled.append(function)
        return real(function, backend='eager', **kwargs)

    real = torch.compile
    monkeypatch.setattr(torch, 'compile', compile_)
    variants = ['eager', 'deploy', 'deploy+channels_last+compile', 'bfloat16']
    result = compare([afformer, sleepers[0]], [(32, 48)], variants=variants, repeats=1, warmup=1)
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


def test_products_alone_beside_the_network(afformer):
    result = compare(
        [afformer], [64], 2, variants=['gemm', 'eager'], flops=True, repeats=1, warmup=1
    )
    floor, whole = result['results']
    assert [floor['variant'], whole['variant']] == ['gemm', 'eager']
    assert 0.5 < floor['flops'] / whole['flops'] < 1
    assert whole['ratio']['median'] > floor['ratio']['median'] == 1


def test_peers_are_made_for_every_size(afformer, monkeypatch):
    """Several sizes of a network that takes one size only, between those of one that takes all."""
    made = []

    def build_peer(name, size, maps):
        made.append((name, size, maps))
        return OneSize(size)

    monkeypatch.setattr('mmvit_plugins.analysis.build.build_peer', build_peer)
    result = compare(
        [afformer, 'timm:one'], [32, (32, 48)], backbone_only=True, repeats=1, warmup=1
    )
    assert made == [('timm:one', (32, 32), True), ('timm:one', (32, 48), True)]
    lines = [(r['config'], r['shape']) for r in result['results']]
    assert lines == [(name, s) for name in (afformer, 'timm:one') for s in ([32, 32], [32, 48])]
    assert '| timm:one ' in format_benchmark(result)


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
    result = compare(configs, [(32, 40)], modes=('tensor', 'predict'), repeats=2, warmup=1)
    assert [r['mode'] for r in result['results']] == ['tensor', 'predict'] * 2
    # every mode is compared with its own first line
    assert [r['ratio']['median'] == 1 for r in result['results']] == [True, True, False, False]

    with pytest.raises(ValueError, match="AFFormer is no complete model, so mode='predict'"):
        compare(configs, [(32,)], modes=('predict',), backbone_only=True)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(variants=['depoly']), "'depoly' is unknown; join any of eager, deploy"),
        (dict(modes=['loss']), 'loss.* is unknown; choose from'),
        (dict(device='tpu'), "device='tpu'"),
        (dict(repeats=0), 'repeats=0 is not allowed'),
        (dict(threads=0), 'threads=0 is not allowed'),
        (dict(shapes=[(0, 4)]), 'height, width'),
        (dict(modes=['train'], variants=['eager', 'deploy']), 'deploy form cannot be trained'),
        (dict(modes=['train'], variants=['gemm']), "leave out 'compile' and mode='train'"),
        (dict(variants=['compile+gemm']), "leave out 'compile' and mode='train'"),
        (dict(configs=[]), 'name at least one config'),
    ],
)
def test_unusable_arguments(sleepers, arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(**{'configs': sleepers, **arguments})
    assert not CALLS


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is one')
def test_missing_gpu_is_said(sleepers):
    with pytest.raises(ValueError, match="no device 'cuda:0' here .*give cpu"):
        compare(sleepers, device='cuda:0')


def test_variant_words():
    base = Variant(deploy=True, dtype='bfloat16')
    assert str(Variant.parse('eager')) == 'eager'
    assert Variant.parse('eager', base) == base
    assert str(Variant.parse('compile+float16', base)) == 'deploy+compile+float16'


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_on_a_gpu(afformer):
    result = partial(compare, [afformer], [(64, 64)], repeats=2, device='cuda')(
        variants=['eager', 'bfloat16']
    )
    assert result['machine']['gpu']
    for line in result['results']:
        assert line['latency_ms']['median'] > 0
        assert line['peak_memory_bytes'] > 4 * line['parameters']
