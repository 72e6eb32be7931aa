"""Checkpoints under interruption and on a full disk, with real signals and a real failing write."""

import errno
import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from mmvit_plugins import writing
from mmvit_plugins.engine import AtomicBackend, CheckpointHook, find_checkpoint

ROOT = Path(__file__).resolve().parents[2]


def train(work: Path, *arguments: str, workers=0, loop='iter'):
    """Run tiny_run.py in a folder; returns the process and the losses by iteration."""
    how = {'WORKERS': str(workers), 'LOOP': loop}
    process = subprocess.run(
        [sys.executable, Path(__file__).with_name('tiny_run.py'), work, *arguments],
        env={**os.environ, **how, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = (work / 'losses.jsonl').read_text().splitlines()
    return process, dict(map(json.loads, lines))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """A run that nothing stopped: its folder and its losses."""
    work = tmp_path_factory.mktemp('runs') / 'whole'
    process, losses = train(work, 'nothing')
    assert process.returncode == 0, process.stderr
    assert list(losses) == list(range(1, 9))
    assert losses[8] < losses[1]
    # max_keep_ckpts=1 and save_best leave one of each
    assert names(work) == ['best_score_iter_8.pth', 'iter_8.pth']
    return work, losses


@pytest.mark.slow
@pytest.mark.parametrize('what', ['kill', 'interrupt', 'full'])
def test_nothing_but_the_last_interval_is_lost(whole, tmp_path, what):
    """Stopped while the checkpoint of iteration 6 is written: 4 is intact, resuming works."""
    reference, uninterrupted = whole
    work = tmp_path / 'work'
    process, losses = train(work, what)
    assert process.returncode == {'kill': -signal.SIGKILL, 'interrupt': 1, 'full': 2}[what]
    assert losses == {k: uninterrupted[k] for k in range(1, 7)}
    assert names(work) == ['best_score_iter_4.pth', 'iter_4.pth']
    assert (work / 'last_checkpoint').read_text() == str(work / 'iter_4.pth')
    if what == 'full':
        message = process.stderr.strip().splitlines()[-1]
        assert message == (
            f'error: cannot write the checkpoint {work}/iter_6.pth: File too large; the newest '
            f'intact one is {work}/iter_4.pth: make room, then go on with --resume'
        )
    if what == 'interrupt':
        assert process.stderr.strip().splitlines()[-1] == 'interrupted'
    if what != 'kill':
        assert not list(work.glob('.*'))  # no part of a file is left that would fill the disk

    (work / 'losses.jsonl').unlink()
    process, losses = train(work, 'nothing', 'resume')
    assert process.returncode == 0, process.stderr
    assert losses == {k: uninterrupted[k] for k in range(5, 9)}
    assert names(work) == ['best_score_iter_8.pth', 'iter_8.pth']
    assert not list(work.glob('.*'))
    expected, weights = (
        torch.load(folder / 'iter_8.pth', weights_only=False)['state_dict']
        for folder in (reference, work)
    )
    assert all(torch.equal(expected[key], weights[key]) for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('loop', ['iter', 'epoch'])
def test_a_resumed_training_is_equal_to_the_bit(tmp_path, loop, workers):
    """Dropout, random samples, workers that stay or are started anew: nothing shows the kill.

    By iterations it falls between a checkpoint and the end of its validation, which is made up for.
    """
    how = {'workers': workers, 'loop': loop}
    process, uninterrupted = train(tmp_path / 'whole', 'nothing', **how)
    assert process.returncode == 0, process.stderr
    work = tmp_path / 'work'
    process, _ = train(work, 'kill' if loop == 'epoch' else 'kill best', **how)
    assert process.returncode == -signal.SIGKILL
    process, losses = train(work, 'nothing', 'resume', **how)
    assert process.returncode == 0, process.stderr
    assert losses == uninterrupted
    assert names(work) == names(tmp_path / 'whole')
    last = names(work)[-1]
    expected, found = (torch.load(x / last, weights_only=False) for x in (tmp_path / 'whole', work))
    states = (x['meta']['random_states'] for x in (expected, found))
    assert len({str(x) for x in states}) == 1
    assert all(torch.equal(v, found['state_dict'][k]) for k, v in expected['state_dict'].items())


def test_the_former_best_stays_until_the_new_one_is_written(tmp_path):
    """Killed while the best checkpoint of iteration 6 is written, after the plain one."""
    work = tmp_path / 'work'
    process, _ = train(work, 'kill best')
    assert process.returncode == -signal.SIGKILL
    assert names(work) == ['best_score_iter_4.pth', 'iter_6.pth']
    process, _ = train(work, 'nothing', 'resume')
    assert process.returncode == 0, process.stderr
    assert names(work) == ['best_score_iter_8.pth', 'iter_8.pth']


class FailingFile:
    """Writes half of what it is given, then raises."""

    def __init__(self, error, path, mode):
        self.error, self.file = error, open(path, mode)  # noqa: SIM115

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise self.error


@pytest.mark.parametrize(
    'error', [OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt()]
)
def test_an_interrupted_put_leaves_the_former_file(tmp_path, monkeypatch, error):
    target = tmp_path / 'iter_1.pth'
    AtomicBackend().put(b'former', target)
    monkeypatch.setattr(writing, 'open', partial(FailingFile, error), raising=False)
    with pytest.raises(type(error)) as caught:
        AtomicBackend().put(b'new content', target)
    if isinstance(error, OSError):
        assert caught.value.filename == str(target)
        assert caught.value.errno == errno.ENOSPC
    assert target.read_bytes() == b'former'
    assert list(tmp_path.iterdir()) == [target]


def test_put_replaces_and_makes_folders(tmp_path):
    target = tmp_path / 'a' / 'b.txt'
    for text in ('longer than the next', 'näxt'):
        AtomicBackend().put_text(text, target)
        assert target.read_text(encoding='utf-8') == text
    assert list(target.parent.iterdir()) == [target]


def save(path: Path) -> str:
    torch.save({'state_dict': {'weight': torch.ones(2)}}, path)
    return str(path)


def test_find_checkpoint_takes_the_newest_complete_one(tmp_path):
    assert find_checkpoint(tmp_path) is None
    save(tmp_path / 'iter_9.pth')
    newest = save(tmp_path / 'iter_10.pth')
    save(tmp_path / 'best_mIoU_iter_11.pth')  # without the optimizer's state: not to resume from
    (tmp_path / 'iter_12.pth').write_bytes(Path(newest).read_bytes()[:300])  # truncated
    assert find_checkpoint(tmp_path) == newest
    (tmp_path / 'last_checkpoint').write_text(
        ''
    )  # killed while it was written by mmengine's own hook
    assert find_checkpoint(tmp_path) == newest
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_12.pth'))
    assert find_checkpoint(tmp_path) == newest
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_9.pth'))
    assert find_checkpoint(tmp_path) == str(tmp_path / 'iter_9.pth')


def test_find_checkpoint_in_a_work_dir_that_was_moved(tmp_path):
    path = save(tmp_path / 'iter_4.pth')
    save(tmp_path / 'iter_6.pth')
    (tmp_path / 'last_checkpoint').write_text('/former/place/iter_4.pth')
    assert find_checkpoint(tmp_path) == path


@pytest.mark.parametrize('argument', ['intervall', 'file_client_args'])
def test_checkpoint_hook_refuses_what_it_does_not_know(argument):
    with pytest.raises(ValueError, match=argument):
        CheckpointHook(**{argument: {'backend': 'disk'}})
