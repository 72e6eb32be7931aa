"""What a network must beat: classifiers of scikit-learn on the split of a hyperspectral config."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope

from ..config import explained, load_config
from ..datasets.hyperspectral.dataset import HyperspectralDataset
from ..datasets.hyperspectral.windows import windows_of
from ..engine.hyperspectral import NAMES, SCORES, score_record
from ..errors import UserError
from ..evaluation import confusion_matrix
from ..registry import is_available
from .outputs import check_outputs
from .repeat import TABLE, find_datasets, format_row, seeded, write_summary

CHUNK = 4096  # test pixels at a time; windows of a whole scene would fill the memory


def run_baselines(
    config: str,
    seeds: Sequence[int],
    names: Sequence[str] = ('svm', 'forest'),
    work_dir: str | None = None,
    cfg_options: dict | None = None,
    overwrite: bool = False,
) -> None:
    """Fit and test classifiers on the training and test pixels of a config, with each seed.

    - ``svm``: RBF kernel, C = 100, gamma 1 / number of bands, on the bare spectra of the pixels,
      standardised by those of the training pixels; what the window adds is what a network gains.
    - ``forest``: a random forest of 200 trees on the windows as the network gets them, flattened.

    A seed sets the ``split_cfg.seed`` of each data set, and draws the forest. The files of
    :func:`~mmvit_plugins.apis.repeat.write_summary` go to ``WORK/svm`` and ``WORK/forest``.

    Args:
        config: The config file.
        seeds: Whole numbers.
        names: Which of the two.
        work_dir: The folder to write into; by default ``./work_dirs/CONFIG_baselines``.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether scores that are there may be replaced.

    Raises:
        UserError: The config has no hyperspectral data to train and test on, or there are scores.
        ImportError: scikit-learn is not installed.
    """
    if not is_available('sklearn'):
        raise ImportError(
            'the baselines need scikit-learn, which is not installed: pip install scikit-learn'
        )
    cfg = load_config(config, cfg_options, ())  # of the data no pipeline is built
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    work = Path(work_dir or f'./work_dirs/{Path(config).stem}_baselines')
    files = [work / name / file for name in names for file in (SCORES, TABLE)]
    check_outputs(files, [config], overwrite)
    rows: dict[str, list[dict]] = {name: [] for name in names}
    for seed in seeds:
        seed_cfg = seeded(cfg, seed, config)
        train, test = (_dataset(seed_cfg, part, config) for part in ('train', 'test'))
        for name in names:
            row = _run(name, seed, train, test)
            rows[name].append(row)
            print_log(f'{name}, {format_row(row)}', 'current')
    for name, found in rows.items():
        print_log(write_summary(found, work / name, f'{name} on {config}'))


def _run(name: str, seed: int, train: HyperspectralDataset, test: HyperspectralDataset) -> dict:
    """Fit and test one classifier; returns a row as ``repeat`` has them."""
    build, features = BASELINES[name]
    model: Any = build(seed)
    start = time.perf_counter()
    model.fit(np.concatenate(list(_chunks(train, features))), train.get_gt_labels())
    fitted = time.perf_counter()
    found = np.concatenate([model.predict(chunk) for chunk in _chunks(test, features)])
    tested = time.perf_counter()
    classes = test.metainfo['classes']
    record = score_record(confusion_matrix(test.get_gt_labels(), found, len(classes)), classes)
    return {
        'seed': seed,
        **{key: record[key] for key in NAMES},
        'classes': {key: entry['accuracy'] for key, entry in record['classes'].items()},
        'train_seconds': fitted - start,
        'test_seconds': tested - fitted,
    }


def _chunks(dataset: HyperspectralDataset, features: Callable) -> Iterator[np.ndarray]:
    """Yield the features ``(n, F)`` of the samples, chunk by chunk."""
    pixels = np.asarray(dataset.data_list)
    for start in range(0, len(pixels), CHUNK):
        places = np.divmod(pixels[start : start + CHUNK], dataset.scene.cube.shape[1])
        yield features(dataset, places).reshape(len(places[0]), -1)


def _spectra(dataset: HyperspectralDataset, places: tuple) -> np.ndarray:
    """Return the bare spectra of pixels, ``(n, B)``."""
    return dataset.scene.cube[places]


def _windows(dataset: HyperspectralDataset, places: tuple) -> np.ndarray:
    """Return the windows of pixels, ``(n, C, w, w)``."""
    return windows_of(dataset.padded, dataset.window_size)[places]


def _svm(seed: int) -> object:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=100, gamma='scale'))


def _forest(seed: int) -> object:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=200, random_state=seed, n_jobs=-1)


BASELINES = {'svm': (_svm, _spectra), 'forest': (_forest, _windows)}


def _dataset(cfg: Config, part: str, name: str) -> HyperspectralDataset:
    """Build the data set to train or test on, without the network's pipeline.

    Raises:
        UserError: There is none.
    """
    found = next(find_datasets(cfg.get(f'{part}_dataloader')), None)
    if found is None:
        raise UserError(
            f'{name} has no HyperspectralDataset in {part}_dataloader: give a config with one to '
            'train and one to test on'
        )
    with explained(cfg):
        return DATASETS.build({**found, 'pipeline': ()})
