"""Overall and average accuracy and Cohen's kappa, as remote sensing reports them: in percent."""

import numpy as np
from numpy.typing import ArrayLike


def confusion_matrix(truth: ArrayLike, prediction: ArrayLike, num_classes: int) -> np.ndarray:
    """Count how often each class was taken for each.

    Args:
        truth: Labels of any shape, whole numbers 0 to ``num_classes - 1``.
        prediction: Labels of the same shape.
        num_classes: How many classes there are, with or without samples.

    Returns:
        ``(num_classes, num_classes)``, int64; row: truth, column: prediction.

    Raises:
        ValueError: The shapes differ, or labels are no classes.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(
            f'truth has the shape {truth.shape} and the prediction {prediction.shape}: give a '
            'prediction for each true label'
        )
    for name, labels in (('truth', truth), ('prediction', prediction)):
        wrong = labels[(labels < 0) | (labels >= num_classes) | (labels != labels.astype(np.int64))]
        if wrong.size:
            raise ValueError(
                f'the {name} holds the label {wrong.flat[0]}, allowed are whole numbers from 0 to '
                f'{num_classes - 1}: count classes from 0 and leave out unlabelled pixels'
            )
    # int64 first: products of small integer types would wrap
    pairs = truth.astype(np.int64) * num_classes + prediction.astype(np.int64)
    return np.bincount(pairs.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes)


def scores_of(confusion: np.ndarray) -> dict:
    """Compute the scores of a confusion matrix, in percent.

    Args:
        confusion: ``(K, K)`` counts; row: truth, column: prediction.

    Returns:
        ``OA``, the share of samples that are right; ``AA``, the mean recall of the classes
        that have samples; ``kappa``, the agreement beyond what the two distributions of labels
        give by chance (100 if there is but one class and all is right); ``recall``, ``precision``
        and ``f1`` ``(K,)``, NaN where undefined; ``present`` ``(K,)`` bool: the class has samples.

    Raises:
        ValueError: There is no sample.
    """
    right, rows, columns = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    total = int(rows.sum())
    if not total:
        raise ValueError('there is no sample to score: evaluate at least one labelled pixel')
    agreement = total * int(right.sum())
    chance = sum(row * column for row, column in zip(rows.tolist(), columns.tolist(), strict=True))
    with np.errstate(invalid='ignore'):  # 0 / 0 is NaN: undefined, and not 0
        recall, precision = 100 * right / rows, 100 * right / columns
        f1 = 200 * right / (rows + columns)
    present = rows > 0
    return {
        'OA': 100 * agreement / total**2,
        'AA': float(recall[present].mean()),
        # chance is certain only where one class is all there is, in truth and prediction
        'kappa': 100 * (agreement - chance) / (total**2 - chance) if chance < total**2 else 100.0,
        'recall': recall,
        'precision': precision,
        'f1': f1,
        'present': present,
    }
