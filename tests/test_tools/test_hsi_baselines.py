"""tools/hsi_baselines.py: an SVM and a random forest on the split of a config."""

import csv
import json

import numpy as np
import pytest

from mmvit_plugins.apis import baselines
from mmvit_plugins.datasets.hyperspectral import TEST, TRAIN
from mmvit_plugins.datasets.hyperspectral.dataset import HyperspectralDataset

pytest.importorskip('sklearn')

CONFIG = """
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
dataset = dict(
    type='mmvit_plugins.HyperspectralDataset', scene='synthetic', window_size=3,
    band_transform=dict(type='PCA', n_components=4),
    split_cfg=dict(mode='random', train=0.02, val=0.8, seed=7))
train_dataloader = dict(dataset=dict(dataset, split='train', pipeline=[dict(type='NoSuchStep')]))
test_dataloader = dict(dataset=dict(dataset, split='test'))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'scene.py'
    path.write_text(CONFIG)
    return path


def test_scores_of_both_on_each_split(run, config, tmp_path):
    done = run('hsi_baselines.py', config, '--seeds', '0,3')
    assert done.returncode == 0, done.stderr
    for name in ('svm', 'forest'):
        folder = tmp_path / 'work_dirs/scene_baselines' / name
        rows = list(csv.DictReader((folder / 'scores.csv').read_text().splitlines()))
        assert [row['seed'] for row in rows] == ['0', '3']
        assert min(float(row['OA']) for row in rows) > 40  # the largest class has 23 %
        assert len({row['OA'] for row in rows}) == 2  # two splits
        summary = json.loads((folder / 'scores.json').read_text())['summary']
        values = [float(row['kappa']) for row in rows]
        assert summary['kappa']['mean'] == pytest.approx(np.mean(values))
        assert summary['train_seconds']['min'] > 0 and summary['AA']['seeds'] == 2
        assert f'{name} on {config}, seeds 0, 3' in done.stdout


def test_each_sees_its_own_features_of_its_own_pixels(config, tmp_path, monkeypatch):
    """The SVM bare spectra, the forest windows; training pixels to fit, test pixels to score."""
    seen = {}

    class Spy:
        def __init__(self, name):
            self.name = name

        def fit(self, features, labels):
            seen[self.name] = [features, labels]

        def predict(self, features):
            seen[self.name].append(features)
            return np.zeros(len(features), int)

    monkeypatch.setattr(baselines, 'CHUNK', 50)  # several, the last one smaller
    for name, (_, features) in list(baselines.BASELINES.items()):
        spied = (lambda seed, name=name: Spy(name), features)
        monkeypatch.setitem(baselines.BASELINES, name, spied)
    baselines.run_baselines(str(config), [3], work_dir=str(tmp_path / 'work'))

    dataset = HyperspectralDataset(
        scene='synthetic',
        window_size=3,
        band_transform={'type': 'PCA', 'n_components': 4},
        split_cfg={'mode': 'random', 'train': 0.02, 'val': 0.8, 'seed': 3},
    )
    train, test = (np.nonzero(dataset.parts.parts == part) for part in (TRAIN, TEST))
    assert np.array_equal(seen['svm'][0], dataset.scene.cube[train])
    assert np.array_equal(seen['svm'][1], dataset.parts.labels[train] - 1)
    assert np.array_equal(np.concatenate(seen['svm'][2:]), dataset.scene.cube[test])
    assert len(seen['svm']) > 4 and len(seen['svm'][2]) == 50
    row, column = train[0][5], train[1][5]
    window = dataset.padded[row : row + 3, column : column + 3]
    assert np.array_equal(seen['forest'][0][5], window.transpose(2, 0, 1).ravel())
    assert seen['forest'][2].shape == (50, 36)
    # a classifier that always says the first class is right on that class alone
    scores = json.loads((tmp_path / 'work/svm/scores.json').read_text())['summary']
    first = dataset.metainfo['classes'][0]
    assert scores[first]['mean'] == 100 and scores['AA']['mean'] == pytest.approx(100 / 6)


def test_they_are_what_the_documentation_says(config):
    build, _ = baselines.BASELINES['svm']
    scaler, svm = (step for _, step in build(0).steps)
    assert type(scaler).__name__ == 'StandardScaler'
    assert (svm.kernel, svm.C, svm.gamma) == ('rbf', 100, 'scale')
    forest = baselines.BASELINES['forest'][0](5)
    assert (forest.n_estimators, forest.random_state) == (200, 5)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['nix.py', '--seeds', '1'], 'the config nix.py does not exist'),
        (['empty.py', '--seeds', '1'], 'empty.py has no HyperspectralDataset, whose split'),
        (
            ['scene.py', '--seeds', '1', '--cfg-options', 'test_dataloader=None'],
            'no HyperspectralDataset in test_dataloader',
        ),
    ],
)
def test_wrong_input_gives_a_sentence(run, config, tmp_path, arguments, words):
    (tmp_path / 'empty.py').write_text('train_dataloader = dict(dataset=dict(type="Other"))')
    done = run('hsi_baselines.py', *arguments)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith('error: ') and words in last


def test_without_scikit_learn_it_says_how_to_get_it(config, monkeypatch):
    monkeypatch.setattr(baselines, 'is_available', lambda name: name != 'sklearn')
    with pytest.raises(ImportError, match='pip install scikit-learn'):
        baselines.run_baselines(str(config), [0])
