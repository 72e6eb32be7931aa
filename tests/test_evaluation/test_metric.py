"""HyperspectralMetric: what hosts hand over, classes without samples, several processes."""

import multiprocessing
import pickle

import pytest
import torch
from mmengine.registry import METRICS, DefaultScope
from torch import distributed

from mmvit_plugins.evaluation import HyperspectralMetric
from mmvit_plugins.evaluation.metric import format_scores

CLASSES = ('corn', 'oats', 'woods')
PAIRS = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (0, 1), (0, 0)]  # truth, prediction
EXPECTED = {'hsi/OA': 400 / 7, 'hsi/AA': 55.0, 'hsi/kappa': 200 / 23}


def make(**arguments) -> HyperspectralMetric:
    metric = HyperspectralMetric(**arguments)
    metric.dataset_meta = {'classes': CLASSES}
    return metric


def samples(pairs=PAIRS) -> list[dict]:
    return [
        {'gt_label': torch.tensor([truth]), 'pred_label': torch.tensor([found])}
        for truth, found in pairs
    ]


def test_scores_and_matrix():
    metric = make()
    metric.process(None, samples()[:3])
    metric.process(None, samples()[3:])
    assert metric.evaluate(len(PAIRS)) == pytest.approx(EXPECTED)
    assert metric.confusion.tolist() == [[3, 2, 0], [1, 1, 0], [0, 0, 0]]


def test_each_class_that_has_samples():
    metric = make(per_class=True, prefix='scene')
    metric.process(None, samples())
    found = metric.evaluate(len(PAIRS))
    assert {key: value for key, value in found.items() if 'accuracy' in key} == {
        'scene/accuracy/corn': 60,
        'scene/accuracy/oats': 50,
    }


def test_samples_of_mmpretrain_with_and_without_a_label():
    """As its heads make them; scores alone serve as well."""
    structures = pytest.importorskip('mmpretrain.structures')
    metric = make()
    for index, (truth, found) in enumerate(PAIRS):
        sample = structures.DataSample().set_gt_label(truth)
        sample.set_pred_score(torch.eye(3)[found] + 0.1)
        if index % 2:
            sample.set_pred_label(found)
        metric.process(None, [sample.to_dict()])
    assert metric.evaluate(len(PAIRS)) == pytest.approx(EXPECTED)


def test_found_by_its_prefix_from_a_host():
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert isinstance(
            METRICS.build({'type': 'mmvit_plugins.HyperspectralMetric'}), HyperspectralMetric
        )


def test_little_is_kept_of_a_sample():
    """What several processes send to each other must not hold tensors, which pickle at length."""
    metric = make()
    metric.process(None, [{**samples()[0], 'pred_score': torch.zeros(3), 'img': torch.zeros(900)}])
    assert metric.results == [(0, 0)]
    assert len(pickle.dumps(metric.results)) < 40


def evaluate_rank(rank, folder, queue):
    """Evaluate every second sample, as the samplers of two processes deal them out."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    metric = make(collect_dir=f'{folder}/parts')
    padded = [*PAIRS, PAIRS[0]]  # the first sample again, so that both have as many
    metric.process(None, samples(padded[rank::2]))
    found = metric.evaluate(len(PAIRS))
    queue.put((rank, found, None if metric.confusion is None else metric.confusion.tolist()))
    distributed.destroy_process_group()


def test_two_processes_score_as_one(tmp_path):
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    processes = [
        context.Process(target=evaluate_rank, args=(rank, tmp_path, queue)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        first, second = sorted((queue.get(timeout=60) for _ in processes), key=lambda x: x[0])
    finally:
        for process in processes:
            process.join(10)
            process.kill()
    assert first[1] == second[1] == pytest.approx(EXPECTED)
    assert first[2] == [[3, 2, 0], [1, 1, 0], [0, 0, 0]] and second[2] is None


def test_table_shows_what_is_undefined():
    metric = make()
    metric.process(None, samples())
    metric.evaluate(len(PAIRS))
    corn, _, woods, last = format_scores(metric.confusion, CLASSES).splitlines()[-4:]
    assert corn.split() == ['corn', '5', '60.00', '75.00', '66.67']
    assert woods.split() == ['woods', '0', '-', '-', '-']
    assert last == 'OA 57.14  AA 55.00  kappa 8.70  (percent; AA over 2 of 3 classes)'


def test_wrong_input_gives_a_sentence():
    metric = make()
    with pytest.raises(ValueError, match="without gt_label cannot be scored: .*split='test'"):
        metric.process(None, [{'pred_label': torch.tensor([1])}])
    metric.process(None, samples([(0, 3)]))
    with pytest.raises(ValueError, match='the prediction holds the label 3'):
        metric.evaluate(1)
    metric = make()
    with pytest.raises(ValueError, match='no sample to score'):
        metric.evaluate(0)
    metric.dataset_meta = {}
    metric.process(None, samples())
    with pytest.raises(ValueError, match="needs the data set's class names"):
        metric.evaluate(len(PAIRS))
