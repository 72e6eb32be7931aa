"""The metafile check: passes on this repository, and names what is wrong in a damaged one."""

import importlib.util
import shutil
from pathlib import Path

import mmengine
import pytest
import torch

NAME = 'afformer_tiny_in1k'
CONFIG = f'configs/afformer/{NAME}.py'
METAFILE = 'configs/afformer/metafile.yml'
README = 'configs/afformer/README.md'
METAFILES = [
    f'configs/{folder}/metafile.yml'
    for folder in ('afformer', 'detection', 'lsga', 'mgff', 'sgformer', 'swin', 't2t_vit')
]


@pytest.fixture
def tool(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(repo_root / 'tools')
    spec = importlib.util.spec_from_file_location('tool', repo_root / 'tools/check_metafiles.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(repo_root, tmp_path) -> Path:
    """Write a repository with one model, for which all is well."""
    shutil.copytree(repo_root / 'configs/_base_', tmp_path / 'configs/_base_')
    (tmp_path / 'configs/afformer').mkdir()
    for name in (README, CONFIG):
        shutil.copy(repo_root / name, tmp_path / name)
    mmengine.dump({'Import': [METAFILE]}, tmp_path / 'model-index.yml', file_format='yaml')
    content = mmengine.load(repo_root / METAFILE)
    content['Models'] = [model for model in content['Models'] if model['Name'] == NAME]
    mmengine.dump(content, tmp_path / METAFILE)
    return tmp_path


@pytest.mark.slow
def test_this_repository_lists_all_that_it_has(tool, repo_root):
    assert list(tool.find_unlisted(repo_root)) == []
    assert tool.find_metafiles(repo_root) == METAFILES


@pytest.mark.slow
@pytest.mark.parametrize('metafile', METAFILES)
def test_this_repository_is_in_order(tool, repo_root, metafile):
    assert list(tool.find_wrong(repo_root, metafile, {})) == []


@pytest.mark.parametrize(
    'layer',
    [
        torch.nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), (2, 3), groups=2),
        torch.nn.Conv1d(4, 6, 3, bias=False),
        torch.nn.Linear(9, 5),
        torch.nn.MultiheadAttention(8, 2, batch_first=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_without_numbers_shapes_are_the_same(tool, layer):
    shape = {'Conv2d': (2, 4, 20, 30), 'Conv1d': (2, 4, 20), 'Linear': (2, 3, 9)}
    x = torch.randn(shape.get(type(layer).__name__, (2, 7, 8)))
    inputs = [x] * (3 if isinstance(layer, torch.nn.MultiheadAttention) else 1)

    def run():
        with torch.no_grad():
            out = layer(*inputs)
        return out[0] if isinstance(out, tuple) else out

    before = run()
    with tool.without_numbers():
        out = run()
        assert out.shape == before.shape and not torch.equal(out, before)
        assert (x @ x.mT).shape == (*x.shape[:-1], x.shape[-2]) and not (x @ x.mT).any()
    assert torch.equal(run(), before), 'numbers are back'


def damage(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'problems'),
    [
        (METAFILE, 'Parameters: 2249948', 'Parameters: 2249949', 1),
        # also says that README and docstring do not state the wrong number
        (METAFILE, 'FLOPs: 526228648', 'FLOPs: 576228648', 3),
        (METAFILE, f'Name: {NAME}', 'Name: afformer', 1),
        (METAFILE, 'Collection: AFFormer', 'Collection: AFF', 1),
        (README, f'0.53 | | | [config]({NAME}', f'0.63 | | | [config]({NAME}', 1),
        (CONFIG, '2.25 M', '2.52 M', 1),
        # one is not imported, and one that is imported is not there
        ('model-index.yml', 'afformer/metafile', 'former/metafile', 2),
    ],
)
def test_what_is_wrong_is_named(tool, small, file, old, new, problems):
    damage(small / file, old, new)
    found = list(tool.find_problems(small))
    assert len(found) == problems, found


def test_small_repository_is_in_order(tool, small):
    assert list(tool.find_problems(small)) == []


def test_files_that_are_missing_or_not_listed_are_named(tool, small):
    (small / CONFIG).rename(small / 'configs/afformer/other.py')
    (small / README).unlink()
    found = '\n'.join(tool.find_problems(small))
    assert f'there is no {CONFIG}' in found
    assert f'there is no {README}' in found
    assert 'no metafile lists configs/afformer/other.py' in found
