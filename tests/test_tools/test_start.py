"""Tools start quickly, and what they show is worth reading."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmvit_plugins.analysis.benchmark import DTYPES
from mmvit_plugins.apis.baselines import BASELINES
from mmvit_plugins.apis.cam import METHODS
from mmvit_plugins.checkpoint import LAYOUTS

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
NAMES = sorted(
    str(path.relative_to(TOOLS)) for path in TOOLS.rglob('*.py') if path.name != 'command.py'
)


@pytest.mark.parametrize(
    ('shell', 'code'),
    [('{} >&-', 0), ('{} <&- >&- 2>&-', 0), ('{} | true', 0), ('{} 2>&1 | true', 0)],
)
def test_nobody_needs_to_read_what_a_tool_says(tmp_path, shell, code):
    """The work goes on, and no file that is opened gets what is printed."""
    script = (
        'import sys; sys.path.insert(0, sys.argv[1])\n'
        'from command import _open_streams\n'
        '_open_streams()\n'
        'with open("result", "w") as file:\n'
        '    for _ in range(9999):\n'
        '        print("many words"); print("others", file=sys.stderr)\n'
        '    file.write("done")\n'
    )
    (tmp_path / 'script.py').write_text(script)
    command = shell.format(f'{sys.executable} script.py {TOOLS}')
    done = subprocess.run(
        ['bash', '-o', 'pipefail', '-c', command],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code and 'Error' not in done.stderr
    assert (tmp_path / 'result').read_text() == 'done'


@pytest.mark.slow
def test_asserts_of_the_hosts_hold_whatever_python_was_asked(tmp_path):
    script = (
        'import argparse, os, sys; sys.path.insert(0, sys.argv.pop(1))\n'
        'from command import run\n'
        'run(lambda args: print(__debug__, "PYTHONOPTIMIZE" in os.environ),'
        ' argparse.ArgumentParser())\n'
    )
    (tmp_path / 'script.py').write_text(script)
    for flags, setting in (((), '1'), (('-OO',), ''), (('-O',), '2')):
        done = subprocess.run(
            [sys.executable, *flags, 'script.py', TOOLS], cwd=tmp_path, check=False,
            env={**os.environ, 'PYTHONOPTIMIZE': setting}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.split()[0] == 'True', done.stderr


@pytest.fixture(scope='module')
def helped() -> dict[str, list]:
    """What each tool's ``--help`` imports and prints, from one interpreter for all."""
    code = """
import contextlib, io, json, runpy, sys
folder, *names = sys.argv[1:]
sys.path.insert(0, folder)
for name in names:
    sys.argv = [name, '--help']
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(f'{folder}/{name}', run_name='__main__')
    except SystemExit as stop:
        code = stop.code
    heavy = {'torch', 'mmengine', 'mmcv', 'sklearn', 'matplotlib', 'mmvit_plugins'} & {*sys.modules}
    print(json.dumps([name, code, sorted(heavy), said.getvalue()]))
"""
    done = subprocess.run(
        [sys.executable, '-c', code, str(TOOLS), *NAMES], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize('name', NAMES)
def test_help_comes_before_anything_heavy(helped, name):
    code, heavy, said = helped[name]
    assert code == 0 and not heavy
    assert said.startswith(f'usage: {Path(name).name}')


def test_choices_are_those_of_the_package(monkeypatch):
    """They stand in the tools too, which may not import the package before ``--help``."""
    monkeypatch.syspath_prepend(TOOLS)
    for name, known in (
        ('benchmark.DTYPES', list(DTYPES)),
        ('convert_checkpoint.LAYOUTS', list(LAYOUTS)),
        ('hsi_baselines.BASELINES', list(BASELINES)),
        ('visualize_cam.METHODS', ', '.join(METHODS)),
    ):
        tool, constant = name.split('.')
        assert getattr(importlib.import_module(tool), constant) == known
        del sys.modules[tool]


def test_a_setting_without_a_value_is_a_wrong_use(call):
    done = call('train.py', 'config.py', '--cfg-options', 'train_cfg.max_iters')
    assert done.returncode == 2
    assert "'train_cfg.max_iters' is no setting, write key=value" in done.stderr


def test_settings_of_two_options_are_joined(run, miniature, tmp_path):
    done = run(
        'train.py', miniature, '--no-validate', '--cfg-options', 'train_cfg.max_iters=1',
        '--cfg-options', 'randomness.seed=7',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cfg = Config.fromfile(tmp_path / 'work_dirs/miniature/miniature.py')
    assert (cfg.train_cfg.max_iters, cfg.randomness.seed) == (1, 7)


LONG = ('System environment:', 'INFO - Config:', 'Hooks will be executed')
IDLE = ('"FileClient" will be deprecated', 'The prefix is not set in metric class')
SHOWN = ('Iter(train)', 'Saving checkpoint', 'mIoU:')


@pytest.mark.parametrize('verbose', [False, True])
def test_the_screen_shows_progress_and_the_log_file_all(run, miniature, tmp_path, verbose):
    arguments = ['--verbose'] if verbose else []
    done = run(
        'train.py', miniature, *arguments, '--cfg-options', 'train_cfg.max_iters=2',
        'train_cfg.val_interval=2', 'default_hooks.logger.interval=1',
        'default_hooks.checkpoint.interval=2',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [log] = (tmp_path / 'work_dirs/miniature').glob('*/*.log')
    for text in (*LONG, *IDLE, *SHOWN):
        assert text in log.read_text()
    for text in SHOWN:
        assert text in done.stdout
    for text in LONG:
        assert (text in done.stdout) == verbose
    if not verbose:
        assert not any(text in done.stdout for text in IDLE)
        assert 'Warning' not in done.stderr
        assert len(done.stdout.splitlines()) < 25


def test_a_warning_that_matters_stays_on_the_screen(run, miniature, tmp_path):
    """A classifier for other classes starts anew."""
    done = run('train.py', miniature, '--no-validate', '--cfg-options', 'train_cfg.max_iters=1',
               'default_hooks.checkpoint.interval=1')  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run(
        'train.py', miniature, '--work-dir', 'more', '--no-validate', '--cfg-options',
        'train_cfg.max_iters=1', 'model.decode_head.num_classes=5',
        f'load_from={tmp_path}/work_dirs/miniature/iter_1.pth',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'initialised anew' in done.stdout


def test_values_of_options_are_read(monkeypatch):
    """Blanks stay, dicts are dicts; all else is left to mmengine's own reader."""
    monkeypatch.syspath_prepend(TOOLS)
    read_values = importlib.import_module('command')._read_values
    texts = [
        'a=/sp ace/x',
        "b=[{'type':'EMAHook'}]",
        "c={'_delete_':True}",
        'd=[1, 2]',
        'e={',
        'f=1',
    ]
    read, others = read_values(texts)
    assert read == {'a': '/sp ace/x', 'b': [{'type': 'EMAHook'}], 'c': {'_delete_': True}}
    assert others == ['d=[1, 2]', 'e={', 'f=1']
