"""HyperspectralHook in a runner: the report, the files, checkpoints of other splits."""

import csv
import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mmvit_plugins.engine.hyperspectral import score_record
from mmvit_plugins.errors import UserError

SPLIT = {'mode': 'random', 'train': 0.1, 'val': 0.05, 'seed': 0}


@MODELS.register_module(force=True)
class MeanSpectrum(BaseModel):
    """A linear layer on the mean of a window."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 6)

    def forward(self, img, gt_label, mode='tensor', **others):
        logits = self.layer(img.mean((1, 2)))
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(logits, gt_label)}
        pairs = zip(gt_label, logits.argmax(1), strict=True)
        return [{'gt_label': truth, 'pred_label': label} for truth, label in pairs]


@METRICS.register_module(force=True)
class OtherMetric(BaseMetric):
    """Counts nothing."""

    default_prefix = 'other'

    def process(self, data_batch, data_samples):
        self.results.extend([0] * len(data_samples))

    def compute_metrics(self, results):
        return {'score': 0.0}


@DATASETS.register_module(force=True)
class OtherDataset(list):
    """No hyperspectral data."""

    def __init__(self, samples):
        super().__init__(samples)


def loader(split, **dataset):
    return {
        'batch_size': 256,
        'collate_fn': {'type': 'default_collate'},
        'sampler': {'type': 'DefaultSampler', 'shuffle': split == 'train'},
        'dataset': {
            'type': 'mmvit_plugins.HyperspectralDataset',
            'scene': 'synthetic',
            'window_size': 3,
            'band_transform': {'type': 'PCA', 'n_components': 4},
            'split': split,
            'split_cfg': SPLIT,
            **dataset,
        },
    }


def build(work, metric='mmvit_plugins.HyperspectralMetric', load_from=None, resume=False, **data):
    """Build a runner that trains for an epoch; its log is ``.log`` files in the work folder."""
    build.runs += 1
    return Runner.from_cfg(
        {
            'model': {'type': 'MeanSpectrum'},
            'work_dir': str(work),
            'experiment_name': f'hyperspectral_{build.runs}',
            'train_dataloader': loader('train', **data),
            'val_dataloader': loader('val', **data),
            'test_dataloader': loader('test', **data),
            'train_cfg': {'by_epoch': True, 'max_epochs': 1},
            'val_cfg': {},
            'test_cfg': {},
            'val_evaluator': {'type': metric},
            'test_evaluator': {'type': metric},
            'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.1}},
            'default_hooks': {
                'checkpoint': {
                    'type': 'mmvit_plugins.CheckpointHook',
                    'save_best': None if metric == 'OtherMetric' else 'hsi/OA',
                    'rule': 'greater',
                }
            },
            'custom_hooks': [{'type': 'mmvit_plugins.HyperspectralHook'}],
            'load_from': load_from,
            'resume': resume,
            'randomness': {'seed': 0},
        }
    )


build.runs = 0


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work folder of a training, and the text of its log."""
    work = tmp_path_factory.mktemp('trained')
    build(work).train()
    return work, next(work.glob('*/*.log')).read_text()


def test_a_training_reports_its_split_and_its_seconds(trained):
    work, log = trained
    assert log.count('split random, seed 0, guard 0, window 3') == 1
    assert log.index('split random') < log.index('samples  accuracy') < log.index('hsi/OA: ')
    record = json.loads((work / 'training.json').read_text())
    (epoch, oa), *rest = record['validation'].items()
    assert epoch == '1' and f'hsi/OA: {oa:.4f}' in log and not rest
    assert (record['epochs'], record['iterations']) == (1, 2) and 0 < record['seconds'] < 60
    assert (work / 'best_hsi_OA_epoch_1.pth').is_file()
    assert not (work / 'scores.json').exists()


def test_a_test_writes_scores_matrix_and_picture(trained, tmp_path):
    checkpoint = str(trained[0] / 'epoch_1.pth')
    runner = build(tmp_path, load_from=checkpoint)
    metrics = runner.test()
    confusion = runner.test_evaluator.metrics[0].confusion
    dataset = runner.test_dataloader.dataset

    scores = json.loads((tmp_path / 'scores.json').read_text())
    assert {f'hsi/{name}': scores[name] for name in ('OA', 'AA', 'kappa')} == metrics
    assert metrics['hsi/OA'] > 40  # learned; 23 would be the largest class
    assert scores['samples'] == len(dataset) and scores['checkpoint'] == checkpoint
    assert 0 < scores['seconds'] < 60
    assert list(scores['classes']) == list(dataset.metainfo['classes'])
    counts = [entry['samples'] for entry in scores['classes'].values()]
    assert counts == np.bincount(dataset.get_gt_labels()).tolist()
    accuracies = [entry['accuracy'] for entry in scores['classes'].values()]
    assert scores['AA'] == pytest.approx(np.mean(accuracies))

    header, *rows = csv.reader((tmp_path / 'confusion.csv').read_text().splitlines())
    assert header == ['truth / prediction', *scores['classes']]
    assert [row[0] for row in rows] == header[1:]
    assert [[int(cell) for cell in row[1:]] for row in rows] == confusion.tolist()
    with Image.open(tmp_path / 'confusion.png') as picture:
        assert len(set(picture.convert('RGB').getdata())) > 20


def test_what_is_undefined_is_none_in_json():
    record = score_record(np.array([[1, 0], [0, 0]]), ['a', 'b'])
    assert record['classes']['b'] == dict.fromkeys(('accuracy', 'precision', 'f1')) | {'samples': 0}
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def rewritten(trained, tmp_path, change):
    """Save the checkpoint with another ``dataset_meta``."""
    checkpoint = torch.load(trained[0] / 'epoch_1.pth', weights_only=False)
    change(checkpoint['meta'])
    torch.save(checkpoint, tmp_path / 'changed.pth')
    return str(tmp_path / 'changed.pth')


def scaled(factor):
    """Scale the fitted numbers of the band transform."""

    def scale(part):
        if isinstance(part, dict):
            return {key: scale(value) for key, value in part.items()}
        if isinstance(part, list | tuple):
            return [scale(value) for value in part]
        return part * factor if isinstance(part, float) else part

    def change(meta):
        meta['dataset_meta']['band_transform'] = scale(meta['dataset_meta']['band_transform'])

    return change


@pytest.mark.parametrize(
    ('data', 'words'),
    [
        (
            {'split_cfg': {**SPLIT, 'seed': 1}},
            r'run has, split\.seed \(0 there, 1 here\); band_transform: use the config',
        ),
        ({'split_cfg': {**SPLIT, 'val': 0.06}}, r'split\.val \(0\.05 there, 0\.06 here\)'),
        ({'window_size': 5}, r'window_size \(3 there, 5 here\)'),
        ({'drop_bands': [3]}, r'bands \(48 there, 47 here\); drop_bands \(None there, \[3\] here'),
        ({'pad_mode': 'edge'}, r"run has, pad_mode \('constant' there, 'edge' here\): use"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(trained, tmp_path, data, words):
    runner = build(tmp_path, load_from=str(trained[0] / 'epoch_1.pth'), **data)
    with pytest.raises(UserError, match=f'trained with other settings than .*{words}'):
        runner.test()


def test_a_fit_may_differ_in_its_last_digits_and_colours_at_all(trained, tmp_path):
    with pytest.raises(UserError, match='other settings than this run has, band_transform'):
        build(tmp_path, load_from=rewritten(trained, tmp_path, scaled(1.0001))).test()

    def change(meta):
        scaled(1 + 1e-6)(meta)
        meta['dataset_meta']['palette'] = meta['dataset_meta']['rgb_bands'] = None

    assert build(tmp_path, load_from=rewritten(trained, tmp_path, change)).test()


def test_a_checkpoint_that_does_not_say_is_used_with_a_warning(trained, tmp_path):
    path = rewritten(trained, tmp_path, lambda meta: meta.pop('dataset_meta'))
    assert build(tmp_path, load_from=path).test()
    log = max(tmp_path.glob('*/*.log'), key=lambda file: file.stat().st_mtime_ns).read_text()
    assert 'the checkpoint does not say which data it was trained with' in log


def test_weights_of_another_split_may_start_but_not_resume_a_training(trained, tmp_path):
    """To resume would be to train on what has been, or will be, tested."""
    checkpoint = str(trained[0] / 'epoch_1.pth')
    other = {'split_cfg': {**SPLIT, 'seed': 1}}
    build(tmp_path / 'start', load_from=checkpoint, **other).train()
    with pytest.raises(UserError, match=r'split\.seed \(0 there, 1 here\)'):
        build(tmp_path / 'resume', load_from=checkpoint, resume=True, **other).train()


def test_a_checkpoint_loaded_by_hand_is_not_judged(trained, tmp_path):
    """Nothing is known yet of the data that it is for."""
    runner = build(tmp_path, split_cfg={**SPLIT, 'seed': 1})
    assert 'state_dict' in runner.load_checkpoint(str(trained[0] / 'epoch_1.pth'))


def test_a_wrapped_data_set_is_found(trained, tmp_path):
    runner = build(tmp_path, load_from=str(trained[0] / 'epoch_1.pth'))
    wrapped = loader('train')
    wrapped['dataset'] = {'type': 'RepeatDataset', 'dataset': wrapped['dataset'], 'times': 2}
    runner._train_dataloader = wrapped
    runner._train_loop = deepcopy(runner.cfg.train_cfg)
    runner.train()
    record = json.loads((tmp_path / 'training.json').read_text())
    assert record['iterations'] == 3  # two times 315 samples


def test_a_run_without_the_metric_or_the_data_is_refused(trained, tmp_path):
    runner = build(tmp_path, metric='OtherMetric', load_from=str(trained[0] / 'epoch_1.pth'))
    with pytest.raises(UserError, match="add dict.type='mmvit_plugins.HyperspectralMetric'"):
        runner.test()
    runner = build(tmp_path)
    runner._train_dataloader['dataset'] = {'type': 'OtherDataset', 'samples': [0]}
    with pytest.raises(UserError, match='needs a HyperspectralDataset, .* an? OtherDataset: take'):
        runner.train()


def test_a_scene_of_more_classes_than_the_model_has_is_refused(tmp_path):
    runner = build(tmp_path)
    runner.model.head = nn.Module()
    runner.model.head.num_classes = 5
    with pytest.raises(UserError, match='the scene has 6 classes and the head .* num_classes=5'):
        runner.train()
