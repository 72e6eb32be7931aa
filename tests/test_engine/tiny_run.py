"""A training of seconds for test_checkpoints.py, a process of its own: WORK_DIR WHAT [resume].

WHAT happens while the checkpoint of iteration 6 is written: ``nothing``, ``kill`` (SIGKILL after
half of the bytes), ``kill best`` (the same, of the best checkpoint), ``interrupt`` (SIGINT there)
or ``full`` (no file may grow over 40 kB). Samples and model draw random numbers. The environment
says how many WORKERS load samples, and whether a LOOP counts iterations (``iter``) or epochs of 4.
"""

import builtins
import json
import os
import random
import resource
import signal
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from torch.nn import functional as F

from mmvit_plugins import writing
from mmvit_plugins.apis import run
from mmvit_plugins.errors import run_tool


@DATASETS.register_module()
class Numbers(torch.utils.data.Dataset):
    def __init__(self, noise):
        self.noise = noise

    def __len__(self):
        return 16

    def __getitem__(self, index):
        drawn = torch.randn(64) + np.random.rand() + random.random()
        fixed = torch.randn(64, generator=torch.Generator().manual_seed(int(index)))
        return fixed + self.noise * drawn


@MODELS.register_module()
class Tiny(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 64)

    def forward(self, inputs, mode='tensor'):
        x = torch.stack(inputs) if isinstance(inputs, list) else inputs
        loss = F.mse_loss(self.layer(F.dropout(x, 0.1, self.training)), -x)
        return {'loss': loss} if mode == 'loss' else [loss]

    def train_step(self, data, optim_wrapper):
        return super().train_step({'inputs': data}, optim_wrapper)

    def val_step(self, data):
        return self(torch.stack(data))


@METRICS.register_module()
class Score(BaseMetric):
    """Better with each call, so that each validation writes a new best checkpoint."""

    def process(self, data_batch, data_samples):
        self.results.append(-data_samples[0].item())

    def compute_metrics(self, results):
        return {'score': sum(results)}


@HOOKS.register_module()
class Record(Hook):
    """Notes each loss, and lets happen what was asked for from the sixth iteration on."""

    priority = 'HIGHEST'

    def __init__(self, what):
        self.what = what

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(Path(runner.work_dir, 'losses.jsonl'), 'a') as file:
            print(json.dumps([runner.iter + 1, outputs['loss'].item()]), file=file)
        if runner.iter + 1 == 6:
            if self.what == 'full':
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
            elif self.what != 'nothing':
                writing.open = half_open
                # a job in the background of a shell ignores interrupts
                signal.signal(signal.SIGINT, signal.default_int_handler)
                what, *Half.name = self.what.split()
                Half.signal = {'kill': signal.SIGKILL, 'interrupt': signal.SIGINT}[what]


class Half:
    """A file whose first write stops in the middle by a signal to this process."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        signal.raise_signal(self.signal)  # to this thread, so that it is seen before the return


def half_open(path, mode='r'):
    file = builtins.open(path, mode)  # noqa: SIM115
    return Half(file) if 'w' in mode and all(x in Path(path).name for x in Half.name) else file


def main() -> None:
    work_dir, what, *resume = sys.argv[1:]
    torch.set_num_threads(1)
    sampler = {'type': 'InfiniteSampler', 'shuffle': True}
    workers, by_epoch = int(os.environ['WORKERS']), os.environ['LOOP'] == 'epoch'
    loader = {
        'dataset': {'type': 'Numbers', 'noise': 0.0},
        'batch_size': 4,
        'num_workers': workers,
        'persistent_workers': by_epoch and workers > 0,
    }
    steps = {'type': 'IterBasedTrainLoop', 'max_iters': 8, 'val_interval': 2}
    if by_epoch:
        steps = {'type': 'EpochBasedTrainLoop', 'max_epochs': 2, 'val_interval': 1}
        sampler = {'type': 'DefaultSampler', 'shuffle': True}
    config = Path(work_dir).parent / 'tiny.py'
    Config(
        {
            'model': {'type': 'Tiny'},
            'train_dataloader': {
                **loader,
                'sampler': sampler,
                'dataset': {'type': 'Numbers', 'noise': 0.1},
            },
            'val_dataloader': {**loader, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
            'val_evaluator': {'type': 'Score'},
            'train_cfg': steps,
            'val_cfg': {'type': 'ValLoop'},
            'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.5, 'momentum': 0.9}},
            'param_scheduler': [{'type': 'PolyLR', 'by_epoch': by_epoch}],
            'default_hooks': {
                'checkpoint': {
                    'type': 'mmvit_plugins.CheckpointHook',
                    'by_epoch': by_epoch,
                    'interval': 1 if by_epoch else 2,
                    'max_keep_ckpts': 1,
                    'save_best': 'score',
                    'rule': 'greater',
                }
            },
            'custom_hooks': [{'type': 'Record', 'what': what}],
            'randomness': {'seed': 0},
        }
    ).dump(config)
    run.train(
        Namespace(
            config=str(config),
            cfg_options=None,
            work_dir=work_dir,
            launcher='none',
            local_rank=0,
            amp=False,
            auto_scale_lr=False,
            no_validate=False,
            no_pin_memory=False,
            no_persistent_workers=False,
            verbose=False,
            resume='auto' if resume else None,
        )
    )


if __name__ == '__main__':
    run_tool(main)
