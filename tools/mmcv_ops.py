"""Give the environment of this interpreter an mmcv with ops, its compiled operators.

Only detectors need them: ``make setup-det`` runs this with ``.venv``'s Python, elsewhere it is run
by hand; only the standard library is used here. pip alone installs onedl-mmcv without ops, as its
isolated build has no torch. The ops are compiled once for each pair of mmcv and torch into a wheel
below the user's cache folder, unless pip finds a prebuilt one. pip's own cache is no place for
it: it does not tell a wheel with ops from one without.
"""

import contextlib
import ctypes
import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

CACHE = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'mmvit_plugins/ops'
STAMP = Path(sys.prefix) / 'mmcv_ops.key'  # what the ops in place were chosen for
SIGN_OF_LIFE = 30  # seconds between two lines while the compiler is at work
TRY = """
import sys, torch
from mmcv.ops import nms
devices = ['cpu', 'cuda'] if sys.argv[1] == 'cuda' and torch.cuda.is_available() else ['cpu']
for device in devices:
    boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.], [4., 4., 6., 6.]], device=device)
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)[1].tolist()
    if kept != [0, 2]:
        raise RuntimeError(f'nms on {device} keeps boxes {kept} instead of [0, 2]')
"""


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def version(distribution: str) -> str:
    """The version of a distribution in this environment, empty if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ''


def torch_versions() -> tuple[str, str | None]:
    """The versions of torch, local suffix included, and of its CUDA; importing takes seconds."""
    spec = importlib.util.find_spec('torch')
    if spec is None:
        sys.exit(f'ops are built for one torch, but {sys.prefix} has none; install it first.')
    facts = runpy.run_path(str(Path(spec.origin).with_name('version.py')))
    return str(facts['__version__']), facts.get('cuda')


def has_gpu() -> bool:
    """Tell whether the NVIDIA driver shows a GPU."""
    try:
        driver = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return not failed and count.value > 0


def toolkit_fault(cuda: str) -> str:
    """Why kernels for torch's CUDA cannot be compiled, empty if they can; looks as torch does."""
    home = os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
    nvcc = f'{home}/bin/nvcc' if home else shutil.which('nvcc') or '/usr/local/cuda/bin/nvcc'
    if not shutil.which(nvcc):
        return 'no nvcc was found'
    text = subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout
    release = re.search(r'release ([\d.]+)', text)
    found = release.group(1) if release else 'an unknown version'
    return '' if found.split('.')[0] == cuda.split('.')[0] else f'{nvcc} is of CUDA {found}'


def in_place(state: str) -> bool:
    """Tell whether an earlier call has installed these ops, and they are still there."""
    spec = importlib.util.find_spec('mmcv')
    ops = spec and spec.origin and any(Path(spec.origin).parent.glob('_ext*'))
    return bool(ops) and STAMP.exists() and STAMP.read_text() == state


def fault(wheel: Path, kernels: str) -> str:
    """Why a wheel's ops cannot be used, empty if they can; tried from an unpacked copy."""
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        try:
            with zipfile.ZipFile(wheel) as archive:
                if not any(name.startswith('mmcv/_ext') for name in archive.namelist()):
                    return 'it has no compiled ops'
                archive.extractall(place)
        except (zipfile.BadZipFile, zlib.error, EOFError):
            return 'it is damaged'
        path = os.pathsep.join(filter(None, (place, os.environ.get('PYTHONPATH'))))
        done = subprocess.run(
            [sys.executable, '-c', TRY, kernels],
            cwd=place,
            env={**os.environ, 'PYTHONPATH': path},
            capture_output=True,
            text=True,
        )
    lines = done.stderr.strip().splitlines() or [f'the interpreter ended with {done.returncode}']
    return lines[-1] if done.returncode else ''


def keep(wheel: Path, folder: Path) -> Path:
    """Move a finished wheel into its folder of the cache, in one step."""
    folder.mkdir(exist_ok=True)
    return wheel.replace(folder / wheel.name)


def cached(folder: Path, kernels: str) -> Path | None:
    """The wheel of an earlier call, thrown away if it does not work any more."""
    wheel = next(folder.glob('*.whl'), None)
    reason = wheel and fault(wheel, kernels)
    if not reason:
        return wheel
    say(f'{wheel} is thrown away: {reason}.')
    wheel.unlink()
    return None


def prebuilt(folder: Path, kernels: str, mmcv: str) -> Path | None:
    """A wheel from the indexes that pip is configured with, if one of them has it with ops."""
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        options = ('--only-binary=:all:', '--no-deps', '--no-cache-dir', '--dest', place)
        subprocess.run(
            [sys.executable, '-m', 'pip', 'download', f'onedl-mmcv=={mmcv}', *options],
            cwd=place,
            capture_output=True,
        )
        wheel = next(Path(place).glob('*.whl'), None)
        if wheel is None:
            return None
        reason = fault(wheel, kernels)
        if reason:
            say(f'The prebuilt {wheel.name} is not taken: {reason}.')
            return None
        return keep(wheel, folder)


def build_environment(kernels: str) -> dict[str, str]:
    """Environment variables of the build; exit with one sentence if a tool for it is missing."""
    scripts = sysconfig.get_path('scripts')  # an environment need not be activated
    environ = {
        'MAX_JOBS': str(os.cpu_count() or 1),
        **os.environ,
        'MMCV_WITH_OPS': '1',
        'PATH': scripts + os.pathsep + os.environ.get('PATH', os.defpath),
        'FORCE_CUDA': str(int(kernels == 'cuda')),
    }
    # Python's own flags ask for debugging symbols, which double the time; the last one counts
    environ['CFLAGS'] = f'{environ.get("CFLAGS", "")} -g0'.strip()
    if kernels == 'cpu':
        environ['CUDA_VISIBLE_DEVICES'] = ''  # mmcv asks for nvcc where it sees a GPU
    compiler = (shlex.split(environ.get('CXX', '')) or ['c++'])[0]
    if not shutil.which(compiler):
        sys.exit(
            f'No C++ compiler to build ops with: {compiler} was not found; install one (Debian and '
            'Ubuntu: `apt install g++`) or name one with CXX=...'
        )
    if not (Path(sysconfig.get_path('include')) / 'Python.h').exists():
        sys.exit(
            f'{sys.executable} comes without Python.h, which ops are compiled with; install it '
            '(Debian and Ubuntu: `apt install python3-dev`).'
        )
    missing = [] if version('wheel') else ['wheel']
    if version('setuptools').split('.')[0] not in ('80', '81'):
        missing.append('setuptools 80 or 81')
    if not shutil.which('ninja', path=environ['PATH']):
        missing.append('ninja')
    if missing:
        sys.exit(
            f'{sys.prefix} lacks {" and ".join(missing)} to build ops with; repair it with: '
            f'{sys.executable} -m pip install ninja wheel "setuptools>=80,<82"'
        )
    return environ


def progress(log: Path) -> str:
    """How far the compiler is, from the last ``[3/90]`` that ninja wrote."""
    steps = re.findall(r'^\s*\[(\d+/\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
    return f', files {steps[-1]}' if steps else ''


def build(folder: Path, kernels: str, mmcv: str) -> Path:
    """Compile a wheel."""
    environ = build_environment(kernels)
    log = CACHE / f'{folder.name}.log'
    say(
        f'Compiling the ops of onedl-mmcv {mmcv} ({kernels}), once: about 12 minutes on two quiet '
        f'cores{", longer with CUDA" * (kernels == "cuda")}. MAX_JOBS={environ["MAX_JOBS"]} at a '
        f'time; the log is {log}.'
    )
    with tempfile.TemporaryDirectory(dir=CACHE) as place:
        options = ('--no-cache-dir', '--no-build-isolation', '--no-deps', '--verbose')
        options += ('--no-binary', 'onedl-mmcv', '--wheel-dir', place)
        with log.open('w') as out:
            process = subprocess.Popen(
                [sys.executable, '-m', 'pip', 'wheel', f'onedl-mmcv=={mmcv}', *options],
                cwd=place,
                env=environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            start = time.monotonic()
            try:
                while process.poll() is None:
                    try:
                        process.wait(SIGN_OF_LIFE)
                    except subprocess.TimeoutExpired:
                        minutes, seconds = divmod(int(time.monotonic() - start), 60)
                        say(f'  compiling for {minutes}:{seconds:02}{progress(log)}')
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # the compilers too
                process.wait()
                raise
        wheel = next(Path(place).glob('*.whl'), None)
        if process.returncode or wheel is None:
            lines = log.read_text(errors='replace').splitlines()
            errors = [line for line in lines if re.search(r': (fatal )?error: |Error: ', line)]
            say('\n'.join(errors[:5] or lines[-15:]))
            sys.exit(
                f'The ops of onedl-mmcv {mmcv} were not built: the reason is above, the rest in '
                f'{log}; needed are a C++17 compiler (g++ 9 or newer), 2 GB of memory for each of '
                'MAX_JOBS, and a torch older than 2.14.'
            )
        reason = fault(wheel, kernels)
        if reason:
            sys.exit(f'The ops were compiled but do not work: {reason}; the log is {log}.')
        return keep(wheel, folder)


def find_wheel(mmcv: str, torch: str, cuda: str | None, kernels: str, lack: str) -> Path:
    """A wheel that works here: from the cache, from pip's indexes, or compiled."""
    abi = sysconfig.get_config_var('SOABI')  # names the Python and its platform
    name = f'onedl_mmcv-{mmcv}-torch{torch}-{abi}-{platform.machine()}'
    folder = CACHE / f'{name}-{kernels}'
    wheel = cached(folder, kernels) or prebuilt(folder, kernels, mmcv)
    if not wheel and lack:
        say(
            f'CUDA is at hand, but {lack}: taking ops for the CPU; detection on the GPU needs the '
            f'toolkit of CUDA {cuda} with nvcc, or a prebuilt wheel where pip looks '
            '(PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS).'
        )
        kernels = 'cpu'
        folder = CACHE / f'{name}-{kernels}'
        wheel = cached(folder, kernels)
    return wheel or build(folder, kernels, mmcv)


def install(wheel: Path) -> None:
    """Put a wheel in the place of the mmcv that is there; try what needs it."""
    options = ('--no-deps', '--force-reinstall', '--no-index', '--quiet')
    if subprocess.run([sys.executable, '-m', 'pip', 'install', *options, wheel]).returncode:
        sys.exit(f'pip could not install {wheel}, its message is above.')
    if importlib.util.find_spec('mmdet'):
        command = [sys.executable, '-c', 'import mmdet.models']
        done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or [f'ended with {done.returncode}']
            sys.exit(f'The ops are in place, but mmdet.models cannot be imported: {reason[0]}.')


def main() -> None:
    """Install ops unless they are in place."""
    mmcv = version('onedl-mmcv')  # the one with ops replaces it
    if not mmcv:
        sys.exit(
            f'ops are installed over onedl-mmcv, which {sys.prefix} lacks: remove another mmcv '
            '(mmcv, mmcv-lite, mmcv-full) if there is one, then `pip install onedl-mmcv`.'
        )
    torch, cuda = torch_versions()
    kernels = 'cuda' if cuda and (os.environ.get('FORCE_CUDA') == '1' or has_gpu()) else 'cpu'
    lack = toolkit_fault(cuda) if kernels == 'cuda' else ''
    state = f'mmcv {mmcv}, torch {torch}, {kernels} {lack}'
    if in_place(state):
        return
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        lock = (CACHE / 'lock').open('w')
    except OSError as error:
        sys.exit(f'{error}: name a folder for the built ops with XDG_CACHE_HOME=...')
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say('Another set-up is at the ops: waiting for it.')
            fcntl.flock(lock, fcntl.LOCK_EX)
        if in_place(state):
            return
        for left in CACHE.glob('tmp*'):  # of a call that was killed
            shutil.rmtree(left)
        wheel = find_wheel(mmcv, torch, cuda, kernels, lack)
        install(wheel)
        with contextlib.suppress(PermissionError):  # then the next call only takes longer
            STAMP.write_text(state)
    say(f"mmcv's ops are in place, from {wheel}.")


if __name__ == '__main__':
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('Interrupted: ops are not in place; the next call starts them afresh.')
