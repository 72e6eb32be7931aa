"""Check that index, metafiles, READMEs and config headers tell the truth about the models.

python tools/check_metafiles.py

Every config that trains must be listed, every listed file exist, and parameters and FLOPs be those
of the model as it is built, in the metafile, in the README's table and in the config's docstring.
"""

import argparse
import ast
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from command import run

PARSER = argparse.ArgumentParser(description=__doc__.splitlines()[0])
if __name__ == '__main__':
    PARSER.parse_args()  # before torch is there

import mmengine  # noqa: E402
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402
from torch import Tensor  # noqa: E402

from mmvit_plugins.analysis import count_config  # noqa: E402
from mmvit_plugins.errors import UserError  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
INDEX = 'model-index.yml'
FLOPS_TOLERANCE = 0.01  # the same model may be computed by slightly different operators


def find_problems(root: Path) -> Iterator[str]:
    """Yield one sentence for each thing in a repository's metafiles that is not so."""
    yield from find_unlisted(root)
    counts: dict[str, dict] = {}
    for metafile in find_metafiles(root):
        yield from find_wrong(root, metafile, counts)


def find_metafiles(root: Path) -> list[str]:
    """List the metafiles of a repository."""
    return sorted(str(path.relative_to(root)) for path in root.glob('configs/*/metafile.yml'))


def find_unlisted(root: Path) -> Iterator[str]:
    """Yield what index and metafiles leave out, and what they name that is not there."""
    imported, found = set(mmengine.load(root / INDEX)['Import']), set(find_metafiles(root))
    yield from (f'{INDEX} does not import {name}' for name in sorted(found - imported))
    yield from (f'{INDEX} imports {name}, which is not there' for name in sorted(imported - found))
    models = (model for name in found for model in mmengine.load(root / name)['Models'])
    listed = {model['Config'] for model in models}
    trained = {
        str(path.relative_to(root))
        for path in root.glob('configs/*/*.py')
        if path.parent.name != '_base_' and 'train_dataloader' in Config.fromfile(path)
    }
    yield from (f'no metafile lists {name}' for name in sorted(trained - listed))


def find_wrong(root: Path, metafile: str, counts: dict[str, dict]) -> Iterator[str]:
    """Yield what one metafile says that is not so.

    Args:
        root: The repository.
        metafile: Which one, below it.
        counts: What was counted of each model so far, as some are trained in several ways; is
            added to.
    """
    content = mmengine.load(root / metafile)
    readmes = {entry['Name']: entry['README'] for entry in content['Collections']}
    for readme in sorted(set(readmes.values())):
        if not (root / readme).is_file():
            yield f'{metafile}: there is no {readme}'
    for model in content['Models']:
        where = f'{metafile}, {model["Name"]}'
        if model['In Collection'] not in readmes:
            yield f'{where}: the collection {model["In Collection"]} is not described'
        elif not (root / model['Config']).is_file():
            yield f'{where}: there is no {model["Config"]}'
        else:
            readme = root / readmes[model['In Collection']]
            yield from (f'{where}: {text}' for text in _model_problems(root, model, readme, counts))


@contextmanager
def without_numbers() -> Iterator[None]:
    """Let products and convolutions give zeros, and weights be zeros: counting needs shapes only.

    They are what takes the time of a model at full size. Everything else runs as always, and what
    runs is recorded as always: only where it would compute on a CPU do zeros stand in for it.
    """
    library = torch.library.Library('aten', 'IMPL')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that it takes the place of another, as it is meant to
        for name, function in (
            ('mm', lambda a, b: _zeros(a, _sides(a)[:-1], _sides(b)[-1:])),
            ('bmm', lambda a, b: _zeros(a, _sides(a)[:-1], _sides(b)[-1:])),
            ('addmm', lambda c, a, b, **_: _zeros(a, _sides(a)[:-1], _sides(b)[-1:])),
            ('baddbmm', lambda c, a, b, **_: _zeros(a, _sides(a)[:-1], _sides(b)[-1:])),
            ('_scaled_dot_product_flash_attention_for_cpu', _attention),
            ('mkldnn_convolution', _convolution),
            ('uniform_', _draw),
            ('normal_', _draw),
        ):
            library.impl(name, function, 'CPU')
    try:
        yield
    finally:
        library._destroy()


def _sides(x: Tensor) -> list[int]:
    return [int(side) for side in x.shape]  # while a model is traced they are tensors


def _zeros(like: Tensor, *sides: list[int]) -> Tensor:
    return like.new_zeros([side for part in sides for side in part])


def _draw(x: Tensor, *_, generator: torch.Generator | None = None) -> Tensor:
    if generator is None:  # weights
        return x.zero_()
    # the regions of a detector, which must differ
    return x.copy_(torch.linspace(0, 1, x.numel()).view_as(x))


def _attention(q: Tensor, k: Tensor, v: Tensor, *_, **__) -> tuple[Tensor, Tensor]:
    return _zeros(q, _sides(q)[:-1], _sides(v)[-1:]), _zeros(q, _sides(q)[:-1])


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding, stride, dilation, groups: int
) -> Tensor:
    (batch, _, *sides), (channels, _, *kernel) = _sides(x), _sides(weight)
    places = zip(sides, padding, dilation, kernel, stride, strict=True)
    return _zeros(
        x, [batch, channels], [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in places]
    )


def _model_problems(root: Path, model: dict, readme: Path, counts: dict) -> Iterator[str]:
    config, stated = root / model['Config'], model['Metadata']
    if model['Name'] != config.stem:
        yield f'its config is named {config.stem}'
    with redirect_stdout(sys.stderr):  # hosts log to stdout while they build
        key = f'{Config.fromfile(config).model} {stated["Input Size"]}'
        if key not in counts:
            with without_numbers():
                counts[key] = count_config(config, stated['Input Size'])
    counted = counts[key]
    if stated['Parameters'] != counted['parameters']:
        yield f'Parameters is {stated["Parameters"]}, the model has {counted["parameters"]}'
    if abs(stated['FLOPs'] / counted['flops'] - 1) > FLOPS_TOLERANCE:
        yield f'FLOPs is {stated["FLOPs"]}, the model has {counted["flops"]}'

    scale, unit = (1e9, 'GFLOPs') if stated['FLOPs'] >= 1e8 else (1e6, 'MFLOPs')
    size, cost = f'{stated["Parameters"] / 1e6:.2f}', f'{stated["FLOPs"] / scale:.2f}'
    height, width = stated['Input Size']
    header = f'{size} M parameters, {cost} {unit} at {height}x{width}'
    if header not in (ast.get_docstring(ast.parse(config.read_text())) or ''):
        yield f'the docstring of its config does not state {header!r}'
    lines = readme.read_text().splitlines() if readme.is_file() else []
    cells = [[cell.strip() for cell in line.split('|')] for line in lines]
    if not any({size, cost} <= set(row) and f'({config.name})' in str(row) for row in cells):
        yield f'{readme.name} has no table row with ({config.name}), {size} and {cost}'


def main(_: argparse.Namespace) -> None:
    """Print what is wrong; fail if anything is."""
    problems = list(find_problems(ROOT))
    if problems:
        raise UserError('\n'.join(problems))
    print('index, metafiles, READMEs and config headers agree with the models')


if __name__ == '__main__':
    run(main, PARSER)
