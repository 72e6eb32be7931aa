"""Numbers and names of classes, which heads, losses, scores and data all have, compared."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from ..errors import UserError, listed
from .building import typed

LOSSES = ('loss_decode', 'loss')  # of a head of mmsegmentation, of mmpretrain


def _heads(model: Mapping) -> Iterator[tuple[str, Mapping]]:
    """Yield path and config of what tells classes apart: also a cascade's and an auxiliary's."""
    roi = model.get('roi_head') or {}
    found = {
        **{name: model.get(name) for name in ('decode_head', 'auxiliary_head', 'head')},
        'bbox_head': model.get('bbox_head'),
        **{f'roi_head.{name}': roi.get(name) for name in ('bbox_head', 'mask_head')},
    }
    for path, head in found.items():
        if isinstance(head, list | tuple):
            parts = [(f'model.{path}.{i}', one) for i, one in enumerate(head)]
        else:
            parts = [(f'model.{path}', head)]
        yield from ((place, one) for place, one in parts if isinstance(one, Mapping))


def _count(head: Mapping) -> int | None:
    count = head.get('num_classes')
    return count if isinstance(count, int) else None


def check_class_settings(cfg: Config) -> None:
    """Refuse settings of a training that contradict the number of classes of their own head.

    And what the hosts would end in an error of their own: mmsegmentation's ``FocalLoss`` indexes
    one column of the classes on a CPU, and its cross entropy masks, with ``class_weight`` and
    ``avg_non_ignore``, weights that it has flattened.

    Raises:
        UserError: Names the setting and what is allowed.
    """
    of_pixels = cfg.get('default_scope') == 'mmseg'
    for path, head in _heads(cfg.model):
        count, top = _count(head), head.get('topk')
        if head.get('cal_acc'):
            _refuse_topk(f'{path}.topk', top or (1,), path, count)
        for key in LOSSES:
            losses = head.get(key)
            many = isinstance(losses, list | tuple)
            for i, loss in enumerate(losses if many else [losses]):
                if isinstance(loss, Mapping):
                    place = f'{path}.{key}.{i}' if many else f'{path}.{key}'
                    _check_loss(place, loss, path, count, of_pixels)
    if of_pixels:
        _check_allowed(cfg)


def _check_allowed(cfg: Config) -> None:
    """Compare the labels that ``CheckLabels`` lets pass with the classes of the heads."""
    counts = {path: _count(head) or 0 for path, head in _heads(cfg.model)}
    for path, step in typed(cfg.get('train_dataloader'), 'train_dataloader'):
        if str(step.get('type')).rpartition('.')[2] != 'CheckLabels':
            continue
        allowed = step.get('num_classes')
        for head, count in counts.items():
            if isinstance(allowed, int) and allowed > count > 1:
                raise UserError(
                    f'{path}.num_classes={allowed}, but {head}.num_classes={count}: labels from '
                    f'{count} on would pass and end in the loss; give one number to both'
                )


def _check_loss(place: str, loss: Mapping, path: str, count: int | None, of_pixels: bool) -> None:
    """Check one loss of a head that has ``count`` classes."""
    kind, weights = str(loss.get('type')).rpartition('.')[2], loss.get('class_weight')
    many = isinstance(weights, list | tuple)
    plain = not loss.get('use_sigmoid', kind == 'FocalLoss') and not loss.get('use_mask')
    if kind == 'CrossEntropyLoss' and plain and many and count and len(weights) != count:
        raise UserError(
            f'{place}.class_weight has {len(weights)} numbers, but {path}.num_classes={count}: '
            'give one for each class'
        )
    if not of_pixels:
        return
    if kind == 'CrossEntropyLoss' and plain and weights and loss.get('avg_non_ignore'):
        raise UserError(
            f"{place}: mmsegmentation's CrossEntropyLoss fails with class_weight and "
            'avg_non_ignore=True; leave avg_non_ignore out, as with class_weight the mean is that '
            'over labelled pixels in any case'
        )
    if kind == 'FocalLoss' and not torch.cuda.is_available() and count and count > 1:
        raise UserError(
            f"{place}: mmsegmentation's FocalLoss fails on a CPU for more than one class: train on "
            'a GPU, or take CrossEntropyLoss, with class_weight for classes that are rare'
        )


def check_topk(cfg: Config, metric: Any) -> None:
    """Refuse a score of the best k classes where there are fewer classes.

    Args:
        cfg: The whole config.
        metric: The config of a metric.

    Raises:
        UserError: Names the setting.
    """
    if not isinstance(metric, Mapping) or metric.get('thrs') is not None:
        return
    if str(metric.get('type')).rpartition('.')[2] == 'Accuracy':
        for path, head in _heads(cfg.model):
            _refuse_topk(
                'topk of the metric Accuracy', metric.get('topk', (1,)), path, _count(head)
            )


def _refuse_topk(place: str, topk: Any, path: str, count: int | None) -> None:
    asked = topk if isinstance(topk, list | tuple) else [topk]
    if count and any(isinstance(k, int) and k > count for k in asked):
        fits = tuple(k for k in asked if k <= count) or (1,)
        raise UserError(
            f'{place} is {topk!r}, but {path}.num_classes={count}: give numbers up to {count}, as '
            f'{fits!r}'
        )


def check_classes(cfg: Config, dataset: Any) -> None:
    """Compare the classes of heads with those of the data to train on.

    Args:
        cfg: The whole config.
        dataset: As it has been built, with ``metainfo``.

    Raises:
        UserError: A head has too few, or a hyperspectral one another number. Where the names are
            but those of the data set's class, which what is trained on need not have all, and for
            too many, the log is told.
    """
    names = _names(cfg, dataset)
    if names is None:
        return
    usual = getattr(type(dataset), 'METAINFO', {}).get('classes')
    own = usual is None or list(names) != list(usual)
    kind = type(dataset).__name__
    for path, head in _heads(cfg.model):
        given = _count(head)
        if given in (None, 1, len(names)):  # 1: a foreground
            continue
        said = f'{path}.num_classes={given}, but the training data have {len(names)} classes'
        if (own and given < len(names)) or kind.startswith('Hyperspectral'):
            raise UserError(
                f'{said} ({listed(names)}): give {len(names)}, or correct the classes of the data'
            )
        if not own and given < len(names) and hasattr(dataset, 'reduce_zero_label'):
            zero = ' and takes the label 0 for no class' if dataset.reduce_zero_label else ''
            raise UserError(
                f'{said}, those of {kind}, which has these names{zero}: for classes of your own '
                "set type='BaseSegDataset' and metainfo=dict(classes=(...)) in the data loaders"
            )
        print_log(said, 'current', logging.WARNING)


def check_same_classes(cfg: Config, train: Any, other: Any) -> None:
    """Compare the classes of the data to train on with those that are scored.

    Args:
        cfg: The whole config.
        train: A data set.
        other: A data set.

    Raises:
        UserError: A label has another name in one than in the other.
    """
    names, others = _names(cfg, train), _names(cfg, other)
    retrieval = 'Retriev' in str(cfg.model.get('type'))  # is scored on classes that it never saw
    if names is None or others is None or retrieval or list(names) == list(others):
        return
    raise UserError(
        f'{_difference(names, others, "the training data", "the data to score")}: give both the '
        'same classes in the same order, by metainfo, or by a folder for each class, which may be '
        'empty'
    )


def check_tested(cfg: Config, names: list | tuple, dataset: Any) -> None:
    """Compare the classes that a checkpoint names with those of the data to test on.

    Args:
        cfg: The whole config.
        names: Of the checkpoint.
        dataset: As it has been built.

    Raises:
        UserError: They are the same names in another order. Other names, which may be but spelled
            in another way, are told in the log.
    """
    others = _names(cfg, dataset)
    if others is None or list(names) == list(others):
        return
    said = _difference(names, others, 'the checkpoint', 'the data to test on')
    if sorted(map(str, names)) == sorted(map(str, others)):
        raise UserError(f'{said}: list the classes of the data in the order of the checkpoint')
    print_log(f'{said}: scores compare their numbers alone', 'current', logging.WARNING)


def _difference(names: list | tuple, others: list | tuple, what: str, other: str) -> str:
    """Say where two lists of classes part."""
    pairs = zip(names, others, strict=False)
    label = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(names), len(others)))
    one, two = (repr(x[label]) if label < len(x) else 'no class' for x in (names, others))
    counts = f' ({len(names)} and {len(others)} classes)' if len(names) != len(others) else ''
    return f'label {label} is {one} in {what} and {two} in {other}{counts}'


def _names(cfg: Config, dataset: Any) -> list | tuple | None:
    """Return the names of a data set's classes, None where heads have others than these."""
    meta = getattr(dataset, 'metainfo', None) or {}
    names = meta.get('classes')
    # mmdetection's things and stuff have heads of their own, its phrases tokens
    special = 'thing_classes' in meta or 'language_model' in cfg.model
    return names if isinstance(names, list | tuple) and not special else None
