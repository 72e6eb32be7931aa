"""What all tests share: a fixed seed, one thread, the repository's root, a small data set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def seed():
    """Make every test start from the same random state; threads only slow tiny tensors down."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    DefaultScope._instance_dict.clear()  # a runner's scope would hold for the tests that follow


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
