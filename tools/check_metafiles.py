"""Check that index, metafiles, READMEs and config headers tell the truth about the models.

python tools/check_metafiles.py

Every config that trains must be listed, every listed file exist, and parameters and FLOPs be those
of the model as it is built, in the metafile, in the README's table and in the config's docstring.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import mmengine
from mmengine.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from mmvit_plugins.analysis import count_config
from mmvit_plugins.errors import UserError, run_tool

ROOT = Path(__file__).resolve().parents[1]
INDEX = 'model-index.yml'
FLOPS_TOLERANCE = 0.01  # the same model may be computed by slightly different operators


def find_problems(root: Path) -> Iterator[str]:
    """Yield one sentence for each thing in a repository's metafiles that is not so."""
    imported = set(mmengine.load(root / INDEX)['Import'])
    found = {str(path.relative_to(root)) for path in root.glob('configs/*/metafile.yml')}
    yield from (f'{INDEX} does not import {name}' for name in sorted(found - imported))
    yield from (f'{INDEX} imports {name}, which is not there' for name in sorted(imported - found))

    listed = set()
    counts: dict[str, dict] = {}  # of each model, as some are trained in several ways
    for metafile in sorted(found):
        content = mmengine.load(root / metafile)
        readmes = {entry['Name']: entry['README'] for entry in content['Collections']}
        for readme in sorted(set(readmes.values())):
            if not (root / readme).is_file():
                yield f'{metafile}: there is no {readme}'
        for model in content['Models']:
            listed.add(model['Config'])
            where = f'{metafile}, {model["Name"]}'
            if model['In Collection'] not in readmes:
                yield f'{where}: the collection {model["In Collection"]} is not described'
            elif not (root / model['Config']).is_file():
                yield f'{where}: there is no {model["Config"]}'
            else:
                readme = root / readmes[model['In Collection']]
                yield from (
                    f'{where}: {text}' for text in _model_problems(root, model, readme, counts)
                )

    trained = {
        str(path.relative_to(root))
        for path in root.glob('configs/*/*.py')
        if path.parent.name != '_base_' and 'train_dataloader' in Config.fromfile(path)
    }
    yield from (f'no metafile lists {name}' for name in sorted(trained - listed))


def _model_problems(root: Path, model: dict, readme: Path, counts: dict) -> Iterator[str]:
    config, stated = root / model['Config'], model['Metadata']
    if model['Name'] != config.stem:
        yield f'its config is named {config.stem}'
    with redirect_stdout(sys.stderr):  # hosts log to stdout while they build
        key = f'{Config.fromfile(config).model} {stated["Input Size"]}'
        if key not in counts:
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


def main() -> None:
    """Print what is wrong; fail if anything is."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    problems = list(find_problems(ROOT))
    if problems:
        raise UserError('\n'.join(problems))
    print('index, metafiles, READMEs and config headers agree with the models')


if __name__ == '__main__':
    run_tool(main)
