"""Make ``.venv`` in the checkout: the pinned set of ``requirements.txt``, and this package.

Run by ``make setup`` with any Python; only the standard library is used here. The environment is
keyed on ``requirements.txt``, what it adds to the start of Python, the Python version and the place
of the checkout: nothing happens while the key holds. Otherwise, after an interrupted set-up too, it
is emptied and built anew, so that a half-installed one is never used.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / '.venv'
PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / 'setup.key'  # holds the key once everything is in place; marks the folder as ours
STARTUP = ROOT / 'mmvit_plugins' / 'ops' / 'startup.pth'
MODULES = ('torch', 'torchvision', 'cv2', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmdet')


def check_python() -> None:
    """Exit with one sentence if this interpreter cannot make the environment."""
    found = '.'.join(map(str, sys.version_info[:3]))
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        sys.exit(
            f'Python 3.10 to 3.13 is needed, {sys.executable} is {found}; '
            'name another one, e.g. `make setup PYTHON=python3.11`.'
        )
    if not (importlib.util.find_spec('venv') and importlib.util.find_spec('ensurepip')):
        sys.exit(
            f'{sys.executable} ({found}) comes without venv; install it (Debian and Ubuntu: '
            '`apt install python3-venv`) or name another Python with PYTHON=...'
        )


def environment_key() -> str:
    """What the environment depends on, as a hash."""
    files = (path.read_text() for path in (ROOT / 'requirements.txt', STARTUP))
    parts = (*files, str(sys.version_info[:2]), str(VENV))
    return hashlib.sha256('\n'.join(parts).encode()).hexdigest()


def run(*command: str) -> None:
    """Run a command of the new environment; exit with one sentence if it fails."""
    if subprocess.run([PYTHON, *command], cwd=ROOT).returncode:
        sys.exit(
            f'Set-up stopped: `{" ".join(command)}` failed, its message is above. '
            'The next call starts afresh.'
        )


def import_error(module: str) -> str:
    """The last line that importing a module prints, empty if it can be imported."""
    done = subprocess.run(
        [PYTHON, '-c', f'import {module}'], cwd=VENV, capture_output=True, text=True
    )
    lines = done.stderr.strip().splitlines() or [f'the interpreter ended with {done.returncode}']
    return lines[-1] if done.returncode else ''


def use_headless_opencv() -> None:
    """Replace OpenCV by its headless build of the same version, for machines without libGL."""
    pin = next(
        line
        for line in (ROOT / 'requirements.txt').read_text().split('\n')
        if line.startswith('opencv-python==')
    )
    run('-m', 'pip', 'uninstall', '--yes', 'opencv-python')
    # both builds own one folder, so that removing one has damaged the other
    headless = pin.replace('opencv-python', 'opencv-python-headless')
    run('-m', 'pip', 'install', '--no-deps', '--force-reinstall', headless)


def build() -> None:
    """Fill the empty environment."""
    if subprocess.run([sys.executable, '-m', 'venv', VENV]).returncode:
        sys.exit(f'Set-up stopped: `{sys.executable} -m venv {VENV}` failed, see above.')
    run('-m', 'pip', 'install', '-r', 'requirements.txt')
    run('-m', 'pip', 'install', '--no-build-isolation', '--no-deps', '--editable', '.')
    add_startup()
    check()


def add_startup() -> None:
    """Put the package's line for the start of Python in place, which an editable install leaves."""
    purelib = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([PYTHON, '-c', purelib], capture_output=True, text=True, check=True)
    shutil.copy(STARTUP, Path(site.stdout.strip()) / 'mmvit_plugins_startup.pth')


def check() -> None:
    """Check that everything can be imported; cure OpenCV where it cannot."""
    error = import_error('cv2')
    if '.so' in error:
        print(f'OpenCV lacks a system library ({error}): taking its headless build.', flush=True)
        use_headless_opencv()
    for module in MODULES:
        error = import_error(module)
        if error:
            hint = ''
            if module == 'torchvision':
                hint = ' torch and torchvision must come as the pinned pair from one package index.'
            sys.exit(f'Set-up stopped: {module} cannot be imported: {error}.{hint}')


def main() -> None:
    """Build the environment unless it is up to date."""
    check_python()
    if VENV.exists() and not STAMP.exists() and any(VENV.iterdir()):
        sys.exit(f'{VENV} was not made by `make setup`: move it away, then try again.')
    VENV.mkdir(exist_ok=True)
    with STAMP.open('a+') as stamp:
        fcntl.flock(stamp, fcntl.LOCK_EX)  # a second `make` waits here instead of emptying ours
        stamp.seek(0)
        key = environment_key()
        if stamp.read() == key and PYTHON.exists():
            return
        stamp.truncate(0)
        print(f'Setting up {VENV}: some minutes, and 6.5 GB of disk with CUDA.', flush=True)
        for item in VENV.iterdir():
            if item != STAMP:
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        build()
        stamp.write(key)
    print(f'{VENV} is ready: `. .venv/bin/activate` uses it by hand.')


if __name__ == '__main__':
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('Set-up interrupted: the next call starts afresh.')
