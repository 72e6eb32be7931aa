"""What users see: a sentence for their errors, a traceback for the program's."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmvit_plugins import environment
from mmvit_plugins.checkpoint import CheckpointMismatchError
from mmvit_plugins.datasets import CheckLabels
from mmvit_plugins.environment import _Without
from mmvit_plugins.errors import UserError, run_tool, sentence

ROOT = Path(__file__).resolve().parents[1]


def caught(function) -> Exception:
    with pytest.raises(Exception) as error:  # noqa: PT011
        function()
    return error.value


class Labels(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return CheckLabels(1)({'gt_seg_map': np.array([[7]]), 'seg_map_path': 'x.png'})


def test_an_error_from_a_loader_worker_is_its_last_sentence():
    error = caught(lambda: list(torch.utils.data.DataLoader(Labels(), num_workers=1)))
    assert 'Traceback' in str(error)
    assert sentence(error).startswith('x.png holds label 7')
    first = 'Original Traceback (most recent call last):\nOSError: the cause\n\nDuring handling'
    assert sentence(RuntimeError(f'{first}:\nDataError: what it means')) is None
    assert sentence(ValueError(f'{first}:\nDataError: what it means')) == 'what it means'


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (UserError('a sentence'), 'a sentence'),
        (CheckpointMismatchError('another'), 'another'),
        (caught(Path('/nix/da').read_bytes), 'no such file or folder: /nix/da'),
        (caught(lambda: CheckLabels(num_classes=1, ignore_index=0, other=2)), None),
        (ValueError('of some library'), None),
        (caught(lambda: int('x')), None),
        (KeyError('key'), None),
    ],
)
def test_which_errors_are_the_users(error, expected):
    assert sentence(error) == expected


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_files_that_no_decoder_knows(backend):
    mmcv = pytest.importorskip('mmcv')
    text = sentence(caught(lambda: mmcv.imfrombytes(b'', backend=backend)))
    assert text.startswith('a picture or label map cannot be decoded')
    assert 'complete=True' in text


def write_without_room():
    with open('/dev/full', 'w') as file:
        file.write('x')


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (OSError(errno.ENOSPC, 'No space', 'a.png'), 'a.png: No space; make room'),
        (OSError(errno.EFBIG, 'File too large'), 'File too large; make room'),
        (caught(write_without_room), '/dev/full: No space left on device; make room'),
        (PermissionError(errno.EACCES, 'Permission denied', 'x'), 'x: Permission denied; correct'),
        (NotADirectoryError(errno.ENOTDIR, 'Not a directory', 'x'), 'x: Not a directory; a part'),
        (MemoryError(), 'the memory is not enough (MemoryError): take a smaller batch_size'),
        (caught(lambda: np.empty(2**60, 'u1')), 'the memory is not enough (Unable to allocate'),
        (caught(lambda: torch.empty(2**50)), 'the memory is not enough ([enforce fail'),
        (torch.OutOfMemoryError('CUDA out of memory. Tried'), 'the memory is not enough (CUDA'),
        (
            RuntimeError('DataLoader worker (pid 3) is killed by signal: Bus error. It is'),
            'the processes that load data ran out of shared memory',
        ),
        (
            RuntimeError('DataLoader worker (pid 3) is killed by signal: Killed. '),
            'the memory is not enough (DataLoader worker (pid 3)',
        ),
        (RuntimeError('DataLoader worker (pid 3) exited unexpectedly with exit code 1'), None),
    ],
)
def test_what_the_machine_lacks_is_said(error, words):
    text = sentence(error)
    assert text == words if words is None else text.startswith(words), text


def fail(error: Exception) -> None:
    raise error


def test_run_tool_ends_with_the_sentence(capsys, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run_tool(lambda: fail(UserError('do this')))
    assert stop.value.code == 2
    assert capsys.readouterr().err == 'error: do this\n'
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)
    monkeypatch.setenv('MMVIT_TRACEBACK', '1')
    with pytest.raises(UserError):
        run_tool(lambda: fail(UserError('do this')))


def test_two_distributions_that_own_one_module(monkeypatch):
    installed = {'mmcv': '2.1.0', 'onedl-mmcv': '2.3.6'}
    monkeypatch.setattr(environment, '_installed', installed.get)
    with pytest.raises(
        UserError, match='pip uninstall -y mmcv onedl-mmcv && pip install .* onedl-mmcv'
    ):
        environment.check_environment('mmseg')
    del installed['mmcv']
    environment.check_environment('mmengine')


def test_a_host_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(environment, 'is_available', lambda package: package != 'mmdet')
    with pytest.raises(UserError, match='mmdetection is not installed: pip install'):
        environment.check_environment('mmdet')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('scope', 'project'), [('mmpretrain', 'mmpretrain'), ('mmdet', 'mmdetection')]
)
def test_a_torchvision_that_does_not_fit(scope, project, tmp_path, repo_root):
    """A wrong pair raises RuntimeError on import; in another process, as modules stay imported."""
    (tmp_path / 'torchvision.py').write_text('raise RuntimeError("operator nms does not exist")')
    code = (
        'from mmvit_plugins import environment as e\n'
        'e.is_available = lambda package: True\n'
        f'e.check_environment({scope!r})'
    )
    run = subprocess.run(
        [sys.executable, '-c', code],
        env={'PYTHONPATH': f'{tmp_path}:{repo_root}', 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    last = run.stderr.strip().splitlines()[-1]
    assert f'UserError: {project} needs a torchvision that fits torch' in last
    assert '(operator nms does not exist); install both at once' in last


@pytest.mark.slow
@pytest.mark.parametrize('scope', ['mmseg', 'mmpretrain', 'mmdet'])
def test_hosts_are_imported_without_lines_that_nobody_asked_for(scope):
    """What they print otherwise is about operators, a private cloud and another scorer of boxes."""
    code = (
        'from mmvit_plugins.environment import import_host\n'
        f'import_host({scope!r}); print("done")\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == 'done\n', done.stdout
    noise = [line for line in done.stderr.splitlines() if 'OneDL' in line or 'mmcv' in line]
    assert done.returncode == 0 and not noise, done.stderr


def test_what_else_is_printed_meanwhile_stays(capsys):
    stream = _Without('Could not import', sys.stdout)
    print('one', 'two', file=stream)
    print('Could not import X', file=stream)
    stream.write('three')
    assert capsys.readouterr().out == 'one two\n' and stream.started == 'three'
