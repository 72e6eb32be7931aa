"""mmcv's ops: cached, prebuilt or compiled wheels, and what is said where there can be none."""

import importlib.util
import sys
import time
import zipfile
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[1] / 'tools/mmcv_ops.py'
VERSIONS = {'onedl-mmcv': '2.3.6', 'setuptools': '81.0.0', 'wheel': '0.48.0'}
# An interpreter that notes its calls. The wheels for pip to find or make lie beside it. Ops work
# if they are the text "good".
PYTHON = """#!/bin/sh
here={folder}
for last; do :; done
case "$*" in
'-m pip download '*) echo download >> $here/calls; cp $here/prebuilt/*.whl "$last" 2>&1;;
'-m pip wheel '*) echo "wheel CUDA=$FORCE_CUDA JOBS=$MAX_JOBS" >> $here/calls
    echo 'ops.cpp:1:2: error: no such type'; sleep 0.2; cp $here/made/*.whl "$last";;
'-m pip install '*) echo install >> $here/calls
    rm -f $here/site/mmcv/_ext*; unzip -q -o "$last" -d $here/site;;
*'import mmdet.models') ;;
*'import nms'*) grep -q good $PYTHONPATH/mmcv/_ext.so && exit 0
    echo 'ImportError: undefined symbol: x' >&2; exit 1;;
*) echo "$@" >> $here/calls;;
esac
"""


def write_wheel(folder, ops):
    folder.mkdir(exist_ok=True)
    wheel = folder / 'onedl_mmcv-2.3.6-any.whl'
    with zipfile.ZipFile(wheel, 'w') as archive:
        archive.writestr('mmcv/__init__.py', '')
        if ops:
            archive.writestr('mmcv/_ext.so', ops)
    return wheel


def load():
    spec = importlib.util.spec_from_file_location('mmcv_ops', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool on a machine without GPU, in an environment of mmcv without ops and of torch."""
    site = tmp_path / 'site'
    for package in ('mmcv', 'torch'):
        (site / package).mkdir(parents=True)
        (site / package / '__init__.py').touch()
    (site / 'torch/version.py').write_text("__version__ = '2.12.1+cu130'\ncuda = '13.0'\n")
    python = tmp_path / 'python'
    python.write_text(PYTHON.format(folder=tmp_path))
    python.chmod(0o755)
    module = load()
    find = importlib.util.find_spec

    def find_spec(name):
        if name in ('mmcv', 'torch'):
            return importlib.util.spec_from_file_location(name, site / name / '__init__.py')
        return find(name)

    monkeypatch.setattr(module.importlib.util, 'find_spec', find_spec)
    monkeypatch.setattr(module, 'version', VERSIONS.__getitem__)
    monkeypatch.setattr(module, 'has_gpu', lambda: False)
    monkeypatch.setattr(module, 'CACHE', tmp_path / 'cache/ops')
    monkeypatch.setattr(module, 'STAMP', tmp_path / 'stamp')
    monkeypatch.setattr(sys, 'executable', str(python))
    for name in ('CXX', 'FORCE_CUDA', 'PYTHONPATH', 'CUDA_HOME', 'CUDA_PATH'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('MAX_JOBS', '3')
    write_wheel(tmp_path / 'made', 'good')
    return module


def calls(tool):
    """What the interpreter was asked for since the last time."""
    file = tool.STAMP.with_name('calls')
    text = file.read_text() if file.exists() else ''
    file.unlink(missing_ok=True)
    return text.splitlines()


def wheels(tool):
    return sorted(tool.CACHE.rglob('*.whl'))


BUILT = ['download', 'wheel CUDA=0 JOBS=3', 'install']


def new_environment(tool):
    """As after a change of requirements.txt: ``.venv`` is emptied, mmcv comes without ops."""
    tool.STAMP.unlink()
    (tool.STAMP.parent / 'site/mmcv/_ext.so').unlink()


def test_ops_are_compiled_once_and_then_come_from_the_cache(tool):
    tool.main()
    assert calls(tool) == BUILT
    (wheel,) = wheels(tool)
    name = wheel.parent.name
    assert name.startswith('onedl_mmcv-2.3.6-torch2.12.1+cu130-') and name.endswith('-cpu')
    assert not list(tool.CACHE.glob('tmp*'))
    tool.main()
    assert calls(tool) == []
    cache = tool.CACHE.rename(tool.CACHE.with_name('elsewhere'))
    tool.main()
    assert not tool.CACHE.exists()  # in place: nothing is looked at, no lock is waited for
    cache.rename(tool.CACHE)
    new_environment(tool)
    tool.main()
    assert calls(tool) == ['install']
    new_environment(tool)
    (tool.STAMP.parent / 'site/torch/version.py').write_text("__version__ = '2.13'\ncuda = None\n")
    tool.main()
    assert calls(tool) == BUILT and len(wheels(tool)) == 2


def test_ops_that_another_mmcv_has_replaced_come_again(tool):
    tool.main()
    calls(tool)
    (tool.STAMP.parent / 'site/mmcv/_ext.so').unlink()
    tool.main()
    assert calls(tool) == ['install']


def test_a_long_compilation_shows_life(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'SIGN_OF_LIFE', 0.05)
    tool.main()
    assert '  compiling for 0:00' in capsys.readouterr().out
    log = tool.CACHE / 'log'
    log.write_text('[1/90] c++ a.cpp\n[2/90] c++ b.cpp\n')
    assert tool.progress(log) == ', files 2/90'


def test_a_failed_compilation_leaves_no_wheel(tool, capsys):
    (tool.STAMP.parent / 'made/onedl_mmcv-2.3.6-any.whl').unlink()
    with pytest.raises(SystemExit, match=r'not built: .* C\+\+17 compiler \(g\+\+ 9 or newer\)'):
        tool.main()
    assert 'ops.cpp:1:2: error: no such type' in capsys.readouterr().out
    assert not wheels(tool) and not tool.STAMP.exists() and 'install' not in calls(tool)


def test_an_interrupted_compilation_leaves_nothing_behind(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'SIGN_OF_LIFE', 0.05)
    python = tmp_path / 'python'
    python.write_text(
        python.read_text().replace('sleep 0.2', f'(sleep 1; touch {tmp_path}/late) & wait')
    )

    def interrupt(log):
        raise KeyboardInterrupt

    monkeypatch.setattr(tool, 'progress', interrupt)
    with pytest.raises(KeyboardInterrupt):
        tool.main()
    assert not wheels(tool) and not list(tool.CACHE.glob('tmp*')) and not tool.STAMP.exists()
    time.sleep(1.5)
    assert not (tmp_path / 'late').exists()  # the compilers end too


@pytest.mark.parametrize(('ops', 'reason'), [(None, 'no compiled ops'), ('bad', 'undefined')])
def test_a_compiled_wheel_that_does_not_work_is_not_kept(tool, ops, reason):
    write_wheel(tool.STAMP.parent / 'made', ops)
    with pytest.raises(SystemExit, match=f'compiled but do not work: .*{reason}'):
        tool.main()
    assert not wheels(tool) and not tool.STAMP.exists() and 'install' not in calls(tool)


@pytest.mark.parametrize(
    ('ops', 'refused'), [('good', ''), (None, 'it has no compiled ops.'), ('bad', 'undefined')]
)
def test_a_prebuilt_wheel_is_taken_if_its_ops_work(tool, ops, refused, capsys):
    write_wheel(tool.STAMP.parent / 'prebuilt', ops)
    tool.main()
    assert calls(tool) == (BUILT if refused else ['download', 'install'])
    assert len(wheels(tool)) == 1
    assert refused in capsys.readouterr().out


@pytest.mark.parametrize('damage', ['cut', 'bad'])
def test_a_cached_wheel_that_does_not_work_is_replaced(tool, damage, capsys):
    tool.main()
    (wheel,) = wheels(tool)
    if damage == 'cut':
        wheel.write_bytes(wheel.read_bytes()[:100])
    else:
        write_wheel(wheel.parent, 'bad')
    calls(tool)
    new_environment(tool)
    tool.main()
    assert calls(tool) == BUILT
    assert not tool.fault(wheel, 'cpu')
    assert f'{wheel} is thrown away: ' in capsys.readouterr().out


def test_missing_tools_give_a_sentence(tool, monkeypatch):
    monkeypatch.setenv('CXX', 'no-such-c++ -O1')
    with pytest.raises(SystemExit, match=r'No C\+\+ compiler .*no-such-c\+\+ was not found; inst'):
        tool.main()
    monkeypatch.delenv('CXX')
    get_path = tool.sysconfig.get_path
    monkeypatch.setattr(tool.sysconfig, 'get_path', lambda name: f'/nix/{name}')
    with pytest.raises(SystemExit, match='comes without Python.h, .*python3-dev'):
        tool.main()
    monkeypatch.setattr(tool.sysconfig, 'get_path', get_path)
    monkeypatch.setattr(tool.shutil, 'which', lambda name, path=None: None if path else name)
    with pytest.raises(SystemExit, match='lacks ninja to build ops with; .* pip install ninja'):
        tool.main()
    monkeypatch.setattr(tool, 'version', {**VERSIONS, 'setuptools': '65.5', 'wheel': ''}.get)
    with pytest.raises(SystemExit, match='lacks wheel and setuptools 80 or 81 and ninja to build'):
        tool.main()
    assert set(calls(tool)) == {'download'}


def nvcc(folder, release):
    """A CUDA toolkit of a release."""
    (folder / 'bin').mkdir(parents=True)
    (folder / 'bin/nvcc').write_text(f'#!/bin/sh\necho "tools, release {release}, V{release}.1"\n')
    (folder / 'bin/nvcc').chmod(0o755)


@pytest.mark.parametrize(
    ('release', 'said'), [('13.1', ''), ('12.8', 'nvcc is of CUDA 12.8'), (None, 'no nvcc')]
)
def test_kernels_for_a_gpu_need_the_toolkit_of_torch(
    tool, tmp_path, monkeypatch, capsys, release, said
):
    monkeypatch.setattr(tool, 'has_gpu', lambda: True)
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'cuda'))
    if release:
        nvcc(tmp_path / 'cuda', release)
    tool.main()
    assert calls(tool) == [BUILT[0], f'wheel CUDA={0 if said else 1} JOBS=3', BUILT[2]]
    assert wheels(tool)[0].parent.name.endswith('-cpu' if said else '-cuda')
    out = capsys.readouterr().out
    assert said in out and ('needs the toolkit of CUDA 13.0' in out) == bool(said)
    tool.main()
    assert calls(tool) == []
    if release is None:
        nvcc(tmp_path / 'cuda', '13.0')
        tool.main()
        assert [wheel.parent.name.split('-')[-1] for wheel in wheels(tool)] == ['cpu', 'cuda']


def test_a_folder_that_cannot_be_made_gives_a_sentence(tool, tmp_path, monkeypatch):
    (tmp_path / 'file').touch()
    monkeypatch.setattr(tool, 'CACHE', tmp_path / 'file/ops')
    with pytest.raises(SystemExit, match='name a folder for the built ops with XDG_CACHE_HOME='):
        tool.main()


def test_a_second_call_waits_for_the_first(tool, monkeypatch):
    """And finds the ops in place, which the first has installed meanwhile."""
    flock = tool.fcntl.flock
    main = tool.main

    def first(lock, mode):
        if mode & tool.fcntl.LOCK_NB:
            raise BlockingIOError
        monkeypatch.setattr(tool.fcntl, 'flock', flock)
        main()

    monkeypatch.setattr(tool.fcntl, 'flock', first)
    tool.main()
    assert calls(tool) == BUILT


def test_no_onedl_mmcv_gives_a_sentence(tool, monkeypatch):
    monkeypatch.setattr(tool, 'version', lambda name: '')
    with pytest.raises(SystemExit, match='over onedl-mmcv, which .* lacks: .*`pip install onedl'):
        tool.main()


def test_version():
    version = load().version
    assert version('pytest') == pytest.__version__ and version('no-such-thing') == ''
