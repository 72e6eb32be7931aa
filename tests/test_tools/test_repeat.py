"""tools/repeat.py: seeds to configs to runs to a table; runs that fail, were done or are stopped.

Most tests call it with tools that only write what the real ones write, which takes no time; one
test trains and evaluates.
"""

import csv
import json
import subprocess
import time

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmvit_plugins.apis import repeat as repeating
from mmvit_plugins.apis.repeat import parse_seeds, repeat
from mmvit_plugins.errors import UserError

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
dataset = dict(
    type='mmvit_plugins.HyperspectralDataset', scene='synthetic', window_size=5,
    band_transform=dict(type='PCA', n_components=4),
    split_cfg=dict(mode='random', train=0.1, val=0.05, seed=7), pipeline=[dict(type='PackInputs')])


def loader(**data):
    return dict(
        batch_size=256, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=data)


train_dataloader = loader(type='RepeatDataset', times=2, dataset=dict(dataset, split='train'))
val_dataloader = loader(**dict(dataset, split='val'))
test_dataloader = loader(**dict(dataset, split='test'))
del loader
val_evaluator = test_evaluator = dict(type='mmvit_plugins.HyperspectralMetric')
val_cfg = test_cfg = dict()
train_cfg = dict(by_epoch=True, max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.01))
randomness = dict(seed=7, deterministic=False)
model = dict(
    type='ImageClassifier', data_preprocessor=dict(num_classes=6),
    backbone=dict(
        type='mmvit_plugins.LSGAViT', in_channels=4, window_size=5, embed_dims=12, depths=(1,),
        num_heads=(2,), out_type='avg_featmap'),
    head=dict(
        type='LinearClsHead', num_classes=6, in_channels=12, loss=dict(type='CrossEntropyLoss')))
default_hooks = dict(checkpoint=dict(type='mmvit_plugins.CheckpointHook', interval=1))
custom_hooks = [dict(type='mmvit_plugins.HyperspectralHook')]
"""
BEST = {'default_hooks.checkpoint.save_best': 'hsi/OA', 'default_hooks.checkpoint.rule': 'greater'}

TRAIN = """
import json, os, shutil, sys, time
from pathlib import Path

config, option, work = sys.argv[1:]
assert option == '--work-dir'
seed = int(Path(config).stem.removeprefix('seed_'))
work = Path(work)
work.mkdir(exist_ok=True)
print('training with', os.environ['OMP_NUM_THREADS'], 'threads')
if (work.parent / f'fail_{seed}').exists():
    print('a line', 'RuntimeError: out of luck', sep='\\n', file=sys.stderr)
    sys.exit(3)
stop = time.time() + 30
while (work.parent / 'wait').exists() and time.time() < stop:
    time.sleep(0.05)
(work / 'training.json').write_text(json.dumps(dict(
    seconds=10 + seed, validation={'1': 60.0, '2': 61.0 + seed})))
shutil.copy(work.parents[1] / 'weights.pth', work / 'epoch_2.pth')
(work / 'last_checkpoint').write_text(str(work / 'epoch_2.pth'))
if 'save_best' in Path(config).read_text():
    (work / f'best_hsi_OA_epoch_{seed}.pth').touch()
"""
TEST = """
import json, sys
from pathlib import Path

config, checkpoint, option, work, again = sys.argv[1:]
assert option == '--work-dir'
seed = int(Path(config).stem.removeprefix('seed_'))
oats = None if seed % 2 else 20.0
classes = dict(corn=dict(accuracy=50.0 + seed), oats=dict(accuracy=oats))
Path(work, 'scores.json').write_text(json.dumps(dict(
    OA=90.0 + seed, AA=80.0, kappa=70.0 - seed, classes=classes, seconds=0.5,
    checkpoint=checkpoint)))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'scene.py'
    path.write_text(CONFIG)
    return path


@pytest.fixture
def start(tmp_path, config, monkeypatch):
    """Call ``repeat`` with tools that only write; returns whether it succeeded and what it said."""
    tools = tmp_path / 'tools'
    tools.mkdir()
    (tools / 'train.py').write_text(TRAIN)
    (tools / 'test.py').write_text(TEST)
    torch.save({'state_dict': {'weight': torch.ones(1)}}, tmp_path / 'weights.pth')
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def run(seeds, **arguments):
        said = []
        monkeypatch.setattr(repeating, '_say', lambda text, level=0: said.append(text))
        good = repeat(str(config), seeds, tools, work_dir=str(tmp_path / 'work'), **arguments)
        return good, '\n'.join(said)

    return run


def table(work):
    return list(csv.DictReader((work / 'scores.csv').read_text().splitlines()))


def test_seeds_reach_the_run_and_every_split(start, tmp_path):
    """In the config that is run, which stays beside the run, wherever the data set stands in it."""
    good, said = start([0, 4], cfg_options={'model.backbone.embed_dims': 24})
    assert good and 'seed_4: started' in said
    for seed in (0, 4):
        cfg = Config.fromfile(tmp_path / f'work/seed_{seed}.py')
        assert cfg.randomness == {'seed': seed, 'deterministic': False}
        for dataset in (
            cfg.train_dataloader.dataset.dataset,
            cfg.val_dataloader.dataset,
            cfg.test_dataloader.dataset,
        ):
            assert dataset.split_cfg == {'mode': 'random', 'train': 0.1, 'val': 0.05, 'seed': seed}
        assert cfg.model.backbone.embed_dims == 24
    cfg = Config.fromfile(tmp_path / 'scene.py')
    repeating.seeded(cfg, 3, 'scene.py')
    assert cfg.randomness.seed == cfg.test_dataloader.dataset.split_cfg.seed == 7  # left as it was


def test_mean_and_deviation(start, tmp_path, capfd):
    start([0, 1, 4])
    work = tmp_path / 'work'
    rows = table(work)
    assert list(rows[0]) == [
        *('seed', 'OA', 'AA', 'kappa', 'corn', 'oats', 'val_OA', 'train_seconds', 'test_seconds')
    ]
    assert [row['seed'] for row in rows] == ['0', '1', '4']
    assert [row['oats'] for row in rows] == ['20.0', '', '20.0']
    assert [row['val_OA'] for row in rows] == ['61.0', '62.0', '65.0'], 'of the last epoch'
    assert rows[2]['train_seconds'] == '14' and rows[2]['test_seconds'] == '0.5'

    record = json.loads((work / 'scores.json').read_text())
    summary = record['summary']
    assert record['std'] == 'population'
    values = np.array([90, 91, 94])
    assert summary['OA'] == pytest.approx(
        {'mean': values.mean(), 'std': values.std(ddof=0), 'min': 90, 'max': 94, 'seeds': 3}
    )
    assert summary['oats'] == {'mean': 20, 'std': 0, 'min': 20, 'max': 20, 'seeds': 2}
    printed = capfd.readouterr().out
    assert 'seeds 0, 1, 4 (percent, and accuracy of each class; std is that of a pop' in printed
    assert '| OA            | 91.67 +- 1.70 |' in printed


@pytest.mark.parametrize(
    ('options', 'tested'),
    [({}, 'epoch_2.pth'), (BEST, 'best_hsi_OA_epoch_3.pth')],
)
def test_the_best_checkpoint_is_tested_if_there_is_one(start, tmp_path, options, tested):
    folder = tmp_path / 'work/seed_3'
    folder.mkdir(parents=True)
    (tmp_path / 'work/seed_3.py').touch()
    (folder / 'best_hsi_OA_epoch_1.pth').touch()  # of a training that was interrupted
    assert start([3], cfg_options=options)[0]
    checkpoint = json.loads((folder / 'scores.json').read_text())['checkpoint']
    assert checkpoint == str(folder / tested)


def test_what_is_done_is_not_done_again(start, tmp_path):
    start([0, 1])
    before = (tmp_path / 'work/seed_1/scores.json').stat().st_mtime_ns
    good, said = start([0, 1, 2])
    assert good and 'not run again: seeds 0, 1' in said
    assert 'seed_1: started' not in said and 'seed_2: started' in said
    assert (tmp_path / 'work/seed_1/scores.json').stat().st_mtime_ns == before
    assert len(table(tmp_path / 'work')) == 3


@pytest.mark.parametrize('change', ['options', 'config'])
def test_scores_of_other_settings_are_not_taken_for_these(start, config, tmp_path, change):
    start([0])
    options = {'optim_wrapper.optimizer.lr': 0.5} if change == 'options' else None
    if change == 'config':
        config.write_text(CONFIG.replace('lr=0.01', 'lr=0.5'))
    with pytest.raises(UserError, match='seed_0 holds scores of another config or of other opt'):
        start([0, 1], cfg_options=options)
    assert not (tmp_path / 'work/seed_1').exists()  # said before anything was run
    config.write_text(f'# a remark changes nothing\n{CONFIG}')
    assert start([0])[0]


def test_a_seed_that_fails_is_reported_and_the_others_go_on(start, tmp_path):
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'fail_1').touch()
    good, said = start([0, 1, 2])
    assert not good
    assert 'seed 1 failed: train.py ended with 3' in said and 'out of luck' in said
    assert '1 of 3 seeds failed: 1; the same command runs them again' in said
    assert [row['seed'] for row in table(work)] == ['0', '2']
    (work / 'fail_1').unlink()
    assert start([0, 1, 2])[0]
    assert len(table(work)) == 3


def test_no_seed_succeeds(start, tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work/fail_0').touch()
    assert not start([0])[0]
    assert not (tmp_path / 'work/scores.csv').exists()


def test_jobs_share_the_cores(start, tmp_path, monkeypatch):
    monkeypatch.setattr(repeating, '_cores', lambda: 7)
    start([0, 1, 2], jobs=3)
    start([3], jobs=9)
    for seed, threads in ((0, 2), (2, 2), (3, 1)):
        log = (tmp_path / f'work/seed_{seed}.log').read_text()
        assert f'training with {threads} threads' in log
    monkeypatch.setenv('OMP_NUM_THREADS', '5')  # set by the user, who will have a reason
    start([4], jobs=2)
    assert 'training with 5 threads' in (tmp_path / 'work/seed_4.log').read_text()


def test_an_interruption_stops_what_runs(start, tmp_path, monkeypatch):
    work = tmp_path / 'work'
    work.mkdir()
    (work / 'wait').touch()
    started = []
    monkeypatch.setattr(repeating, 'as_completed', lambda futures: interrupt(work, started))
    popen = subprocess.Popen

    def spy(*arguments, **options):
        started.append(popen(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(repeating.subprocess, 'Popen', spy)
    with pytest.raises(KeyboardInterrupt):
        start([0, 1, 2], jobs=2)
    assert len(started) == 2 and all(process.poll() is not None for process in started)
    assert not list(work.rglob('scores.json'))


def interrupt(work, started):
    """Wait until two seeds are being trained, then behave as if Ctrl-C were pressed."""
    while len(started) < 2 or not all((work / f'seed_{seed}').exists() for seed in range(2)):
        time.sleep(0.01)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('text', 'seeds'),
    [('0-3', [0, 1, 2, 3]), ('5', [5]), ('0,2, 5-6', [0, 2, 5, 6]), ('3-3', [3])],
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize('text', ['', '5-2', '-1', '1,', 'a', '1.5', '0-', '1-2-3', '0-2,1'])
def test_wrong_seeds_give_a_sentence(text):
    with pytest.raises(UserError, match=f"the seeds '{text}' .*: give .*"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'jobs': 0}, '--jobs 0: give 1 or more'),
        ({'cfg_options': {'custom_hooks': []}}, 'has no HyperspectralHook, which writes the'),
        (
            {'cfg_options': {'default_hooks.checkpoint.save_best': ['hsi/OA', 'hsi/AA']}},
            'saves a best checkpoint for each of several scores',
        ),
    ],
)
def test_what_cannot_be_repeated_is_refused(start, tmp_path, arguments, words):
    with pytest.raises(UserError, match=words):
        start([0], **arguments)
    assert not (tmp_path / 'work').exists()


def test_a_config_without_hyperspectral_data_is_refused(start, config, tmp_path):
    config.write_text("train_dataloader = dict(dataset=dict(type='mmpretrain.ImageNet'))")
    with pytest.raises(UserError, match='scene.py has no HyperspectralDataset, whose split'):
        start([0])


@pytest.mark.parametrize(('good', 'code'), [(True, 0), (False, 1)])
def test_the_command_line_arrives_and_failures_leave(run, repo_root, monkeypatch, good, code):
    found = {}
    monkeypatch.setattr(repeating, 'repeat', lambda **arguments: found.update(arguments) or good)
    done = run(
        'repeat.py', 'some.py', '--seeds', '0-1', '--jobs', '2', '--work-dir', 'w',
        '--cfg-options', 'a.b=[1,2]',
    )  # fmt: skip
    assert done.returncode == code
    assert found == {
        'config': 'some.py',
        'seeds': [0, 1],
        'jobs': 2,
        'work_dir': 'w',
        'cfg_options': {'a.b': [1, 2]},
        'overwrite': False,
        'tools': repo_root / 'tools',
    }
    done = run('repeat.py', 'some.py', '--seeds', '2-1')
    assert done.returncode == 2 and "error: the seeds '2-1' cannot be read" in done.stderr


@pytest.mark.slow
def test_training_and_test_for_real(run, config, tmp_path):
    pytest.importorskip('mmpretrain')
    options = [f'{key}={value}' for key, value in BEST.items()]
    done = run('repeat.py', config, '--seeds', '1', '--cfg-options', *options)
    assert done.returncode == 0, done.stdout + done.stderr
    work = tmp_path / 'work_dirs/scene_repeat'
    (row,) = table(work)
    scores = json.loads((work / 'seed_1/scores.json').read_text())
    assert float(row['OA']) == scores['OA'] > 30
    for name, entry in scores['classes'].items():
        assert float(row[name]) == entry['accuracy']
    assert 0 < float(row['test_seconds']) < 60 and 0 < float(row['train_seconds']) < 60
    assert 'best_hsi_OA_epoch_' in scores['checkpoint']
    validation = json.loads((work / 'seed_1/training.json').read_text())['validation']
    assert list(validation) == ['1', '2'] and float(row['val_OA']) == max(validation.values())
    assert 'split random, seed 1, guard 0, window 5' in (work / 'seed_1.log').read_text()
    assert f'{config}, seeds 1 (' in done.stdout
