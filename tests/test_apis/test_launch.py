"""Devices, launchers, loaders' workers: what is not there is said."""

import subprocess
import sys

import pytest
import torch

from mmvit_plugins.apis.launch import NEEDED, check_launcher, explain_launch
from mmvit_plugins.environment import find_device
from mmvit_plugins.errors import UserError

STARTED = {
    'pytorch': dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, MASTER_ADDR='a', MASTER_PORT=1),
    'slurm': dict(SLURM_PROCID=0, SLURM_NTASKS=1, SLURM_NODELIST='a', MASTER_ADDR='a'),
    'mpi': dict(
        OMPI_COMM_WORLD_LOCAL_RANK=0,
        OMPI_COMM_WORLD_SIZE=1,
        OMPI_COMM_WORLD_RANK=0,
        MASTER_ADDR='a',
    ),
}


@pytest.mark.parametrize('name', ['gpu', 'meta', 'cuda:99', '', 'cuda:x'])
def test_devices_that_are_not_there(name):
    with pytest.raises(UserError, match=f"no device '{name}' here .*give cpu"):
        find_device(name)


def test_devices_that_are_there():
    assert find_device('cpu') == find_device(torch.device('cpu')) == torch.device('cpu')
    assert find_device().type == ('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.fixture
def start(monkeypatch):
    def run(launcher, **changes):
        for names in STARTED.values():
            for name in names:
                monkeypatch.delenv(name, raising=False)
        for name, value in {**STARTED[launcher], **changes}.items():
            if value is not None:
                monkeypatch.setenv(name, str(value))
        check_launcher(launcher)

    return run


@pytest.mark.parametrize('launcher', list(NEEDED))
def test_launchers(start, launcher):
    start(launcher)
    for name in STARTED[launcher]:
        if (launcher, name) != ('slurm', 'MASTER_ADDR'):
            with pytest.raises(UserError, match=f'--launcher {launcher} is for .*{name} is not se'):
                start(launcher, **{name: None})
    number = NEEDED[launcher][1][0]
    with pytest.raises(UserError, match=f"{number} is 'one', where a number is needed"):
        start(launcher, **{number: 'one'})
    with pytest.raises(UserError, match=f'{number} is 1 .from 0., and .* 1: start 1 processes'):
        start(launcher, **{number: 1})
    with pytest.raises(UserError, match='MASTER_PORT is .70000.: give a number from 1 to 65535'):
        start(launcher, MASTER_PORT=70000)


def test_a_process_without_a_gpu(start, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    start('pytorch', LOCAL_RANK=1)
    with pytest.raises(UserError, match='process 2 .* has no GPU, there are 2: start 2 on each'):
        start('pytorch', LOCAL_RANK=2)


def test_slurm_without_its_tools(start, monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(UserError, match='no scontrol here.*: set MASTER_ADDR'):
        start('slurm', MASTER_ADDR=None)


def test_processes_that_do_not_meet(monkeypatch):
    monkeypatch.setenv('MASTER_ADDR', 'nowhere')
    monkeypatch.setenv('MASTER_PORT', '5')
    words = 'do not find each other at nowhere:5 .first line.'
    with pytest.raises(UserError, match=words), explain_launch():
        raise torch.distributed.DistNetworkError('first line\nsecond')


def test_a_worker_that_cannot_hand_over_a_batch_ends(tmp_path):
    """Else the run waits for ever; too little shared memory ends in a sentence."""
    code = (
        'import torch\n'
        'from mmvit_plugins.apis.launch import end_failing_workers\n'
        'from mmvit_plugins.errors import run_tool\n'
        'class Data(torch.utils.data.Dataset):\n'
        '    def __len__(self): return 1\n'
        '    def __getitem__(self, i): return Sample()\n'
        'class Sample:\n'
        '    def __reduce__(self): raise RuntimeError("unable to allocate shared memory(shm)")\n'
        'end_failing_workers()\n'
        'loader = torch.utils.data.DataLoader(Data(), num_workers=1, collate_fn=lambda x: x,\n'
        '    multiprocessing_context="fork")\n'
        'run_tool(lambda: list(loader))\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith('error: the processes that load data ran out of shared memory')
