"""Confusion matrix and scores: against hand-made numbers, with the traps of published code."""

import numpy as np
import pytest

from mmvit_plugins.evaluation import confusion_matrix, scores_of

# truth: 4 x class 0, 2 x class 1, 2 x class 2
TRUTH = [0, 0, 0, 0, 1, 1, 2, 2]
PREDICTION = [0, 0, 0, 1, 1, 1, 1, 0]


def test_rows_are_the_truth():
    found = confusion_matrix(TRUTH, PREDICTION, 3)
    assert found.tolist() == [[3, 1, 0], [0, 2, 0], [1, 1, 0]]
    assert found.dtype == np.int64


def test_scores_by_hand():
    scores = scores_of(confusion_matrix(TRUTH, PREDICTION, 3))
    assert scores['OA'] == 100 * 5 / 8
    assert scores['AA'] == pytest.approx((75 + 100 + 0) / 3)
    chance = (4 * 4 + 2 * 4 + 2 * 0) / 64
    assert scores['kappa'] == pytest.approx(100 * (5 / 8 - chance) / (1 - chance))
    np.testing.assert_allclose(scores['recall'], [75, 100, 0])
    np.testing.assert_allclose(scores['precision'], [75, 50, np.nan])
    np.testing.assert_allclose(scores['f1'], [75, 200 / 3, 0])
    assert scores['present'].tolist() == [True] * 3


def test_arguments_swapped_change_the_average_accuracy_alone():
    """Published code that hands them over in the wrong order reports precision as accuracy."""
    right = scores_of(confusion_matrix(TRUTH, PREDICTION, 3))
    wrong = scores_of(confusion_matrix(PREDICTION, TRUTH, 3))
    assert wrong['OA'] == right['OA'] and wrong['kappa'] == pytest.approx(right['kappa'])
    assert right['AA'] == pytest.approx(58.333333) and wrong['AA'] == pytest.approx(62.5)


def test_classes_without_samples_do_not_count():
    few = scores_of(confusion_matrix(TRUTH, PREDICTION, 3))
    many = scores_of(confusion_matrix(TRUTH, PREDICTION, 5))
    assert [many[name] for name in ('OA', 'AA', 'kappa')] == [
        few[name] for name in ('OA', 'AA', 'kappa')
    ]
    assert many['present'].tolist() == [True, True, True, False, False]
    assert np.isnan(many['recall'][3:]).all() and np.isnan(many['f1'][3:]).all()
    # one that is predicted though it has no samples: precision 0, and still no accuracy
    other = scores_of(confusion_matrix([0, 0], [0, 3], 4))
    assert other['AA'] == 50 and other['precision'][3] == 0 and np.isnan(other['recall'][3])


@pytest.mark.parametrize(
    ('truth', 'prediction', 'expected'),
    [
        ([1, 1, 1], [1, 1, 1], (100, 100, 100)),  # chance is certain: 0 / 0
        ([1, 1, 1], [0, 0, 0], (0, 0, 0)),
        ([0, 1], [1, 0], (0, 0, -100)),
        ([0, 1], [0, 0], (50, 50, 0)),
    ],
)
def test_kappa_at_its_ends(truth, prediction, expected):
    scores = scores_of(confusion_matrix(truth, prediction, 3))
    assert tuple(scores[name] for name in ('OA', 'AA', 'kappa')) == expected


def test_scores_equal_those_of_scikit_learn():
    metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, 500)
    prediction = np.where(rng.random(500) < 0.6, truth, rng.integers(0, 7, 500))
    confusion = confusion_matrix(truth, prediction, 7)
    scores = scores_of(confusion)
    assert np.array_equal(confusion, metrics.confusion_matrix(truth, prediction))
    assert scores['kappa'] == pytest.approx(100 * metrics.cohen_kappa_score(truth, prediction))
    assert scores['AA'] == pytest.approx(100 * metrics.balanced_accuracy_score(truth, prediction))
    for name, function in (('precision', metrics.precision_score), ('f1', metrics.f1_score)):
        expected = 100 * function(truth, prediction, average=None)
        np.testing.assert_allclose(scores[name], expected)


def test_small_integers_and_large_counts_do_not_wrap():
    labels = np.arange(20, dtype=np.uint8)  # 19 * 20 + 19 is beyond a byte
    assert np.array_equal(confusion_matrix(labels, labels, 20), np.eye(20))
    counts = np.array([[4, 1], [1, 4]])
    small, large = scores_of(counts), scores_of(counts * 10**9)  # a square beyond 64 bits
    assert all(small[name] == pytest.approx(large[name]) for name in ('OA', 'AA', 'kappa'))


@pytest.mark.parametrize(
    ('truth', 'prediction', 'words'),
    [
        ([0, 1], [0], r'truth has the shape \(2,\) and the prediction \(1,\)'),
        ([0, 3], [0, 1], 'the truth holds the label 3, allowed are whole numbers from 0 to 2'),
        ([0, 1], [0, -1], 'the prediction holds the label -1'),
        ([0, 1.5], [0, 1], 'the truth holds the label 1.5'),
    ],
)
def test_wrong_labels_give_a_sentence(truth, prediction, words):
    with pytest.raises(ValueError, match=words):
        confusion_matrix(truth, prediction, 3)


def test_nothing_to_score_gives_a_sentence():
    with pytest.raises(ValueError, match='no sample to score'):
        scores_of(confusion_matrix([], [], 3))
