"""The set-up: pins, the wheel and what it carries, and when the environment is built anew."""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from hosts import what_to_install
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmvit_plugins.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def requirements():
    lines = (line.split('#')[0].strip() for line in (ROOT / 'requirements.txt').open())
    found = [Requirement(line) for line in lines if line]
    return [entry for entry in found if entry.marker is None or entry.marker.evaluate()]


def distribution(name):
    """What is installed under a name; OpenCV may be there without its desktop part."""
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        if name == 'opencv-python':
            return importlib.metadata.distribution(f'{name}-headless')
        raise


def installed(name):
    """The version of a distribution, None if it is not installed."""
    try:
        return distribution(name).version.split('+')[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def test_requirements_are_exact_pins_of_what_is_installed():
    pins = {entry.name: entry.specifier for entry in requirements()}
    assert all([pin.operator for pin in pins[name]] == ['=='] for name in pins)
    wrong = {name: installed(name) for name in pins if f'=={installed(name)}' != str(pins[name])}
    assert not wrong, f'installed, but pinned otherwise: {wrong}; run `make setup`'
    assert len({name.lower() for name in pins}) == len(requirements())


def test_all_that_the_pinned_packages_need_is_pinned():
    """On this Python; the versions of triton and the CUDA libraries are torch's matter."""
    pinned = {canonicalize_name(entry.name) for entry in requirements()}
    needs = {(name, '') for name in pinned}  # with the extra that is asked for
    waiting = sorted(needs)
    while waiting:
        name, extra = waiting.pop()
        for entry in map(Requirement, distribution(name).requires or ()):
            other = canonicalize_name(entry.name)
            if other.startswith(('cuda-', 'nvidia-', 'triton')):
                continue
            if entry.marker is None or entry.marker.evaluate({'extra': extra}):
                found = {(other, asked) for asked in ('', *entry.extras)} - needs
                needs |= found
                waiting += found
    missing = sorted({name for name, _ in needs} - pinned)
    assert not missing, f'needed by the pinned packages, but not pinned: {missing}'


def test_the_line_for_the_start_of_python_is_in_place():
    """Set-up puts it there, a wheel brings it; without it mmdetection lacks its operators."""
    line = Path(sysconfig.get_path('purelib')) / 'mmvit_plugins_startup.pth'
    assert line.read_text() == (ROOT / 'mmvit_plugins/ops/startup.pth').read_text()


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel, built without network from a copy: a build leaves files beside the sources."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns('.*', 'work_dirs', 'data', 'build', 'dist')
    )
    options = ('--no-deps', '--no-build-isolation', '--no-index', '--wheel-dir', folder)
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', *options, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob('*.whl'))


def test_wheel_carries_configs_and_tools_but_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split('/')[0] for name in names}
    assert {top for top in tops if not top.endswith('.dist-info')} == {
        'mmvit_plugins',
        'mmvit_plugins_startup.pth',
    }
    assert not any('tests' in Path(name).parts for name in names)
    assert not any(name.endswith('.pyc') for name in names)

    prefix = 'mmvit_plugins/.mim/'
    carried = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    for folder in ('configs', 'tools'):
        files = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob('*.*')}
        files = {name for name in files if not name.endswith(('.pyc', 'setup_env.py'))}
        assert files and files <= carried
    assert 'mmvit_plugins/py.typed' in names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'mmvit_plugins').rglob('*.py')}
    assert {name for name in modules if '.mim' not in name} <= set(names)


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith('METADATA'))
    metadata = importlib.metadata.PathDistribution(zipfile.Path(archive, f'{Path(name).parent}/'))
    assert metadata.version == __version__
    assert set(metadata.metadata['Requires-Python'].split(',')) == {'>=3.10', '<3.14'}
    needs = [Requirement(need) for need in metadata.requires]
    always = {need.name for need in needs if need.marker is None}
    assert always == {
        'torch',
        'numpy',
        'einops',
        'safetensors',
        'scipy',
    }  # none can clash with a user's stack


@pytest.mark.slow
def test_tools_run_from_the_installed_wheel(wheel, tmp_path):
    target = tmp_path / 'site'
    pip = [sys.executable, '-m', 'pip', 'install', '--no-deps', '--no-index', '--target', target]
    subprocess.run([*pip, wheel], check=True, capture_output=True)
    tool = target / 'mmvit_plugins/.mim/tools/train.py'
    where = 'import mmvit_plugins; print(mmvit_plugins.__file__)'
    for command, expected in (((tool, '--help'), '--work-dir'), (('-c', where), str(target))):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=tmp_path,
            env={'PYTHONPATH': str(target), 'PATH': '/usr/bin:/bin'},
            capture_output=True,
            text=True,
        )
        assert expected in done.stdout, done.stderr


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
    """The set-up tool on an empty checkout; building only notes that it was asked for."""
    spec = importlib.util.spec_from_file_location('setup_env', ROOT / 'tools/setup_env.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(module, 'VENV', tmp_path / '.venv')
    monkeypatch.setattr(module, 'PYTHON', tmp_path / '.venv/bin/python')
    monkeypatch.setattr(module, 'STAMP', tmp_path / '.venv/setup.key')
    (tmp_path / 'requirements.txt').write_text('opencv-python==1.2\n')
    module.builds = []

    def build():
        assert [path.name for path in module.VENV.iterdir()] == ['setup.key']  # starts empty
        assert module.STAMP.read_text() == ''
        module.builds.append(1)
        module.PYTHON.parent.mkdir()
        module.PYTHON.touch()

    monkeypatch.setattr(module, 'build', build)
    return module


def test_environment_is_built_once_per_requirements(setup_env):
    setup_env.main()
    setup_env.main()
    assert len(setup_env.builds) == 1
    (setup_env.ROOT / 'requirements.txt').write_text('opencv-python==1.3\n')
    setup_env.main()
    assert len(setup_env.builds) == 2
    setup_env.PYTHON.unlink()  # as when the Python it was made from is removed
    setup_env.main()
    assert len(setup_env.builds) == 3


def test_interrupted_setup_starts_afresh(setup_env, monkeypatch):
    setup_env.main()
    (setup_env.ROOT / 'requirements.txt').write_text('opencv-python==1.3\n')
    build = setup_env.build

    def interrupted():
        build()
        raise KeyboardInterrupt

    monkeypatch.setattr(setup_env, 'build', interrupted)
    with pytest.raises(KeyboardInterrupt):
        setup_env.main()
    monkeypatch.setattr(setup_env, 'build', build)
    setup_env.main()
    assert len(setup_env.builds) == 3
    setup_env.main()
    assert len(setup_env.builds) == 3


def test_foreign_environment_is_left_alone(setup_env):
    setup_env.VENV.mkdir()
    (setup_env.VENV / 'pyvenv.cfg').write_text('mine')
    with pytest.raises(SystemExit, match='was not made by `make setup`'):
        setup_env.main()
    assert (setup_env.VENV / 'pyvenv.cfg').read_text() == 'mine'


@pytest.mark.parametrize('version', [(3, 9, 1), (3, 14, 0)])
def test_wrong_python_gives_a_sentence(setup_env, monkeypatch, version):
    monkeypatch.setattr(setup_env.sys, 'version_info', version)
    with pytest.raises(SystemExit, match=r'Python 3.10 to 3.13 is needed, .* PYTHON='):
        setup_env.main()
    assert not setup_env.builds


def test_missing_venv_module_gives_a_sentence(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='without venv; install it .*python3-venv'):
        setup_env.main()


def fake_python(folder, body):
    """An interpreter of a new environment that notes how it was called."""
    python = folder / 'python'
    python.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{body}\n')
    python.chmod(0o755)
    return python


def test_opencv_without_desktop_libraries_becomes_headless(
    setup_env, tmp_path, monkeypatch, capsys
):
    """The interpreter fails on ``import cv2`` until the headless build has been installed."""
    setup_env.VENV.mkdir()
    body = f"""case "$*" in
    *'import cv2') grep -q headless {tmp_path}/calls && exit 0
        echo 'ImportError: libGL.so.1: cannot open shared object file' >&2; exit 1;;
    esac"""
    monkeypatch.setattr(setup_env, 'PYTHON', fake_python(tmp_path, body))
    setup_env.check()
    calls = (tmp_path / 'calls').read_text()
    assert '-m pip uninstall --yes opencv-python\n' in calls
    assert 'opencv-python-headless==1.2\n' in calls
    assert 'libGL.so.1' in capsys.readouterr().out


def test_torch_that_does_not_fit_torchvision_gives_a_sentence(setup_env, tmp_path, monkeypatch):
    setup_env.VENV.mkdir()
    body = """case "$*" in
    *'import torchvision') echo 'RuntimeError: no torchvision::nms' >&2; exit 1;;
    esac"""
    monkeypatch.setattr(setup_env, 'PYTHON', fake_python(tmp_path, body))
    with pytest.raises(
        SystemExit, match='torchvision cannot be imported: .*nms.*one package index'
    ):
        setup_env.check()
    assert 'headless' not in (tmp_path / 'calls').read_text()


@pytest.mark.parametrize('installed', [False, True])
def test_a_test_says_what_it_lacks(monkeypatch, installed):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: installed or None)
    text = 'needs sklearn, which is not installed: pip install scikit-learn'
    missing = ModuleNotFoundError("No module named 'sklearn.svm'", name='sklearn.svm')
    skipped = pytest.skip.Exception("could not import 'sklearn.svm': No module named 'sklearn'")
    explained = ValueError('this needs scikit-learn')
    explained.__cause__ = missing
    for error in (missing, skipped, explained):
        assert what_to_install(error) == (None if installed else text)
    for error in (None, ValueError('x'), ModuleNotFoundError('x', name='mmvit_plugins.x')):
        assert what_to_install(error) is None
