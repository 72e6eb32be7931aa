"""The recipe behind ``tests/data/*.npz``: what official implementations computed on drawn weights.

Weights are never stored: both sides draw them from a tensor's name and shape. The files are thinned
copies of larger ones, every ``STEP``-th of 4096 sampled elements of each output; ``thin`` makes
them: ``python tests/recipe.py FULL.npz ... tests/data``.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / 'data'
SAMPLES, STEP = 4096, 8


def draw(name, shape):
    """Draw one tensor of a state dict from its name and shape."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    shape = tuple(shape)
    if name.endswith('running_var'):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith('running_mean'):
        value = 0.1 * rng.standard_normal(shape)
    elif len(shape) <= 1 and name.endswith('weight'):
        value = 1 + 0.1 * rng.standard_normal(shape)
    elif len(shape) <= 1:
        value = 0.1 * rng.standard_normal(shape)
    else:
        value = rng.standard_normal(shape) / np.sqrt(int(np.prod(shape[1:])))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def draw_normal(shape, seed):
    """Draw an input (seed 0) or the direction of a gradient (seed 1)."""
    value = np.random.default_rng(seed).standard_normal(tuple(shape))
    return torch.from_numpy(value.astype(np.float32))


def sample(value):
    """Flatten, and take evenly spaced elements of what is large."""
    flat = value.reshape(-1)
    if flat.size <= SAMPLES:
        return flat
    return flat[np.linspace(0, flat.size - 1, SAMPLES).astype(np.int64)]


class Golden:
    """One thinned file: ``meta``, the official ``state``, the ``input``, and what came out."""

    def __init__(self, name):
        with np.load(DATA / f'{name}.npz') as data:
            arrays = {key: data[key] for key in data.files}
        self.meta = json.loads(arrays.pop('meta').tobytes().decode())
        self.expected = {
            key.removeprefix('out/'): value
            for key, value in arrays.items()
            if not key.startswith('computed/')
        }
        self.state = {
            key: torch.from_numpy(arrays[f'computed/{key}'])
            if f'computed/{key}' in arrays
            else draw(key, shape)
            for key, shape in self.meta['shapes'].items()
        }
        self.state.update({k: self.state[v] for k, v in self.meta.get('aliases', {}).items()})
        given = self.meta.get('input', self.meta)
        shape, seed = (given.get(key, given.get(f'input_{key}')) for key in ('shape', 'seed'))
        self.input = draw_normal(shape, seed)

    def error(self, name, value):
        """Relative L2 error of an output (or ``grad/input``) over the stored elements."""
        expected = self.expected[name]
        flat = sample(value.detach().float().numpy())[::STEP]
        return np.linalg.norm(flat - expected) / np.linalg.norm(expected)


def thin(source, folder):
    """Write the thinned copy of a full golden file.

    A large table that the constructor makes becomes one more output; what a model of ours makes
    anew (indices, masks) is left out.
    """
    arrays = {}
    with np.load(source) as data:
        for key in data.files:
            value = data[key]
            if key == 'computed/pos_embed' and value.size > SAMPLES:
                key, value = 'out/pos_embed', sample(value)
            if not key.endswith(('.relative_position_index', '.attn_mask', '.gauss_pos_index')):
                arrays[key] = value[::STEP] if key.startswith(('out/', 'grad/')) else value
    np.savez_compressed(Path(folder) / Path(source).name, **arrays)


if __name__ == '__main__':
    for file in sys.argv[1:-1]:
        thin(file, sys.argv[-1])
