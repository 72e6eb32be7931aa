"""A miniature of a real run: a small AFFormer, boxes as data, tools called as users call them."""

import itertools
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.runner import runner as runners

MINIATURE = """
default_scope = 'mmseg'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
metainfo = dict(classes=('ground', 'red', 'blue'), palette=[[40] * 3, [220, 40, 40], [40, 40, 220]])
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[128.0] * 3, std=[64.0] * 3, bgr_to_rgb=True,
        size=(64, 64), seg_pad_val=255),
    backbone=dict(
        type='mmvit_plugins.AFFormer',
        arch=dict(embed_dims=(16, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2,
                  windows={3: 1, 5: 1}),
        norm_eval=True),
    decode_head=dict(
        type='mmvit_plugins.AFFormerHead', in_channels=16, in_index=3, channels=32, num_classes=3,
        dropout_ratio=0.0),
    test_cfg=dict(mode='whole'),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='mmvit_plugins.CheckLabels', num_classes=3),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    ]),
]
tta_model = dict(type='SegTTAModel')
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='BaseSegDataset', metainfo=metainfo, data_root=DATA, pipeline=train_pipeline,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training')),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='BaseSegDataset', metainfo=metainfo, data_root=DATA, pipeline=test_pipeline,
        test_mode=True,
        data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation')),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05))
param_scheduler = [dict(type='PolyLR', by_epoch=False)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='mmvit_plugins.CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'),
)
custom_hooks = [dict(type='mmvit_plugins.DataCheckHook')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=False)
randomness = dict(seed=0)
"""

RUNS = itertools.count(1)  # each run of this process gets a second of its own, of long ago


@pytest.fixture
def miniature(tmp_path, make_scenes) -> Path:
    """Write the data and the config of the miniature; return the config."""
    config = tmp_path / 'miniature.py'
    config.write_text(f'DATA = {str(make_scenes())!r}\n{MINIATURE}')
    return config


@pytest.fixture
def call(repo_root, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """Run a tool as a user does, in another folder than the repository; returns what it printed."""

    def run(tool: str, *arguments: object, **environment: object) -> subprocess.CompletedProcess:
        interpreter = [] if tool.endswith('.sh') else [sys.executable]
        return subprocess.run(
            [*interpreter, str(repo_root / 'tools' / tool), *map(str, arguments)],
            env={
                **os.environ,
                'PYTHON': sys.executable,
                'OMP_NUM_THREADS': '1',
                **{key: str(value) for key, value in environment.items()},
            },
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=300,
        )

    return run


@pytest.fixture
def run(repo_root, tmp_path, monkeypatch, capfd) -> Callable[..., SimpleNamespace]:
    """As ``call``, but in this process, which saves the seconds that importing everything takes."""

    # mmengine names a run by the second; namesakes in one process share their log files
    clock = SimpleNamespace(
        time=lambda: 100000.0 + next(RUNS), strftime=time.strftime, localtime=time.localtime
    )
    monkeypatch.setattr(runners, 'time', clock)

    def run(tool: str, *arguments: object) -> SimpleNamespace:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        # as the interpreter does for a script
        monkeypatch.setattr(sys, 'path', [str(repo_root / 'tools'), *sys.path])
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(str(repo_root / 'tools' / tool), run_name='__main__')
        except SystemExit as stop:
            code = stop.code
        captured = capfd.readouterr()
        return SimpleNamespace(returncode=code, stdout=captured.out, stderr=captured.err)

    return run
