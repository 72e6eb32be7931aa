"""Many processes: the same training as one process, and the start scripts."""

import json
import re
import socket
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmseg')
pytestmark = pytest.mark.slow

RECORDER = """
import json
from pathlib import Path

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class LossRecorder(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        loss = outputs['loss'].detach().clone()
        all_reduce(loss, 'mean')  # the log of a process knows its own share of the batch only
        self.losses.append(loss.item())

    def after_train(self, runner):
        if is_main_process():
            Path(runner.work_dir, 'losses.json').write_text(json.dumps(self.losses))
"""
TOLERANCE = 1e-5  # relative; float32 sums in another order


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture
def recorded(miniature, tmp_path) -> Path:
    """The miniature with a hook that notes the loss of the whole batch."""
    (tmp_path / 'loss_recorder.py').write_text(RECORDER)
    text = miniature.read_text().replace("'mmvit_plugins']", "'mmvit_plugins', 'loss_recorder']")
    miniature.write_text(text + "custom_hooks += [dict(type='mmengine.LossRecorder')]\n")
    return miniature


def test_two_processes_train_as_one_with_the_doubled_batch(call, recorded, tmp_path, port):
    one, two = tmp_path / 'one run', tmp_path / 'two run'  # spaces try the scripts' quoting
    options = ['--no-validate', '--cfg-options', 'train_cfg.max_iters=6']
    single = call('train.py', recorded, '--work-dir', one, *options, PYTHONPATH=tmp_path)
    assert single.returncode == 0, single.stderr
    double = call(
        'dist_train.sh', recorded, 2, '--work-dir', two, *options, 'train_dataloader.batch_size=2',
        'sync_bn=torch', PORT=port, PYTHONPATH=tmp_path,
    )  # fmt: skip
    assert double.returncode == 0, double.stderr

    expected, losses = (json.loads((d / 'losses.json').read_text()) for d in (one, two))
    assert len(losses) == 6
    assert abs(expected[0] - expected[-1]) > 1e-2  # the comparison is of a model that learns
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)
    weights = [torch.load(d / 'iter_6.pth', weights_only=False)['state_dict'] for d in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_synchronised_batch_norm_trains_and_tests_on_the_cpu(call, miniature, tmp_path, port):
    """norm_cfg names SyncBN, as the authors' configs do: reverted with a line, also under DDP."""
    trained = call(
        'dist_train.sh', miniature, 1, '--work-dir', 'w', '--no-validate', '--cfg-options',
        'train_cfg.max_iters=2', 'model.backbone.norm_eval=False',
        'model.backbone.norm_cfg.type=SyncBN',
        PORT=port,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count('SyncBN runs on CUDA only') == 1
    tested = call('dist_test.sh', miniature, tmp_path / 'w/iter_2.pth', 2, PORT=port)
    assert tested.returncode == 0, tested.stderr
    assert 'mIoU' in tested.stdout


@pytest.mark.parametrize(
    ('script', 'arguments'),
    [
        ('dist_train.sh', ['config.py']),
        ('dist_test.sh', ['config.py', 'x.pth']),
        ('slurm_train.sh', ['part', 'job']),
        ('slurm_test.sh', ['part', 'job', 'config.py']),
    ],
)
def test_scripts_say_how_they_are_used(call, script, arguments):
    result = call(script, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith('usage: ')


@pytest.mark.parametrize(
    ('script', 'settings', 'words'),
    [
        ('dist', {'GPUS': '--amp'}, 'GPUS=--amp: give a whole number from 1 on'),
        ('dist', {'GPUS': 0}, 'GPUS=0: '),
        ('dist', {'GPUS': 1, 'NNODES': 'two'}, 'NNODES=two: '),
        ('dist', {'GPUS': 1, 'NNODES': 2, 'NODE_RANK': 2}, 'NODE_RANK=2: give .* from 0 to 1'),
        ('dist', {'GPUS': 1, 'PORT': 65536}, 'PORT=65536: give .* from 1 to 65535'),
        ('slurm', {'GPUS': '1.5'}, 'GPUS=1.5: '),
        ('slurm', {'GPUS_PER_NODE': '-1'}, 'GPUS_PER_NODE=-1: '),
        ('slurm', {'CPUS_PER_TASK': 0}, 'CPUS_PER_TASK=0: '),
        ('slurm', {'GPUS': 1, 'PATH': '/usr/bin:/bin'}, 'there is no srun here'),
    ],
)
def test_scripts_refuse_wrong_numbers(call, script, settings, words):
    if script == 'dist':
        gpus = settings.pop('GPUS')
        result = call('dist_train.sh', 'config.py', gpus, **settings)
    else:
        result = call('slurm_train.sh', 'part', 'job', 'config.py', **settings)
    assert result.returncode == 2
    assert re.fullmatch(f'error: {words}.*\n', result.stderr)


def test_a_port_in_use_is_said_at_once(call, miniature):
    with socket.create_server(('', 0)) as taken:
        port = taken.getsockname()[1]
        result = call('dist_train.sh', 'config.py', 1, PORT=port)
        assert result.stderr.startswith(f'error: the port {port} of this machine is in use')
        task = dict(RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        result = call('train.py', miniature, '--launcher', 'pytorch', **task)
    assert result.returncode == 2
    assert f'error: the port {port} is in use on this machine: choose another' in result.stderr


def test_slurm_scripts_train_and_test(call, miniature, tmp_path, port):
    """Through a stand-in for srun that notes its options and runs the task as slurm's first one."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    fakes = {
        'srun': 'printf "%s\\n" "$@" >> srun.txt\n'
        'while [[ "$1" == --* ]]; do shift; done\nexec "$@"',
        'scontrol': 'echo 127.0.0.1',
    }
    for name, body in fakes.items():
        (tools / name).write_text(f'#!/usr/bin/env bash\n{body}\n')
        (tools / name).chmod(stat.S_IRWXU)
    task = dict(
        PATH=f'{tools}:/usr/bin:/bin', SLURM_PROCID=0, SLURM_NTASKS=1, SLURM_LOCALID=0,
        SLURM_NODELIST='node', GPUS=1, GPUS_PER_NODE=8, SRUN_ARGS='--quiet --exclusive',
        MASTER_PORT=port,
    )  # fmt: skip
    trained = call(
        'slurm_train.sh', 'part', 'job', miniature, 'a folder', '--no-validate', '--cfg-options',
        'train_cfg.max_iters=2', **task,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    options = (tmp_path / 'srun.txt').read_text().splitlines()
    assert options[:4] == [
        '--partition=part',
        '--job-name=job',
        '--gres=gpu:1',
        '--ntasks-per-node=1',
    ]
    assert '--exclusive' in options
    tested = call('slurm_test.sh', 'p', 'j', miniature, tmp_path / 'a folder/iter_2.pth', **task)
    assert tested.returncode == 0, tested.stderr
    assert 'mIoU' in tested.stdout
