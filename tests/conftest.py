"""What all tests share: a fixed seed, one thread, the repository's root, a small data set."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

# before torch is imported, and for the processes that tests start
os.environ.update(
    dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'OPENBLAS_NUM_THREADS'), '1')
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hosts import what_to_install  # noqa: E402
from mmengine.logging import MessageHub, MMLogger  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402
from PIL import Image  # noqa: E402
from yapf.yapflib import yapf_api  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]


def _skip_what_lacks(report: pytest.TestReport | pytest.CollectReport, call, path: str) -> None:
    text = what_to_install(call.excinfo and call.excinfo.value)
    if text:
        report.outcome, report.longrepr = 'skipped', (path, 0, f'Skipped: {text}')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Skip a test where an optional package is missing, and say which."""
    report = yield
    _skip_what_lacks(report, call, str(item.path))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a file of tests that imports such a package at its top."""
    report = yield
    if report.call:
        _skip_what_lacks(report, report.call, str(collector.path))
    return report


def pytest_collection_finish():
    """Take what was imported out of what is looked through for garbage.

    mmengine's data sets look for it each time that one is built.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def plain_configs():
    """Let a config be written as it comes: laying it out took most of the time of a short run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(autouse=True)
def seed():
    """Make every test start from the same random state; threads only slow tiny tensors down."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    forget_runs()
    yield
    forget_runs()


def forget_runs() -> None:
    """Let no scope, logger or message hub of a runner hold for the tests that follow.

    A logger that stays the current one would write to the streams of the test that made it.
    """
    for logger in MMLogger._instance_dict.values():
        for handler in logger.handlers:
            handler.close()
    for kind in (DefaultScope, MMLogger, MessageHub):
        kind._instance_dict.clear()


@pytest.fixture
def repo_root() -> Path:
    return ROOT


@pytest.fixture
def make_scenes(tmp_path) -> Callable[..., Path]:
    """Write pictures of boxes with label maps (0 ground, 1 and 2 boxes), in ADE20K's folders."""

    def make(count: int = 8, size: int = 64, folder: str = 'data') -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / folder
        for split in ('training', 'validation'):
            for kind in ('images', 'annotations'):
                (root / kind / split).mkdir(parents=True)
            for index in range(count):
                image = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
                label = np.zeros((size, size), np.uint8)
                for value, colour in ((1, (220, 40, 40)), (2, (40, 40, 220))):
                    top, left = rng.integers(0, size // 2, 2)
                    box = np.s_[top : top + size // 3, left : left + size // 3]
                    image[box], label[box] = colour, value
                Image.fromarray(image).save(root / 'images' / split / f'{index}.jpg')
                Image.fromarray(label).save(root / 'annotations' / split / f'{index}.png')
        return root

    return make
