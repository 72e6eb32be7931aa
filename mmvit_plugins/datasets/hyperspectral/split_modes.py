"""The modes of a split: which labelled pixels train, validate and test, before the guard."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ...errors import DataError
from .split_settings import TEST, TRAIN, UNUSED, VAL, SplitSettings

Notes = dict[str, list[int]]  # sentence -> the classes it is about; none if about all


def pieces(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
    """Cut pieces of each class, training from their front and validation from their back.

    A piece is an ordered array of flat indices: a whole class at random, or a field from end to
    end.
    """
    rng = np.random.RandomState(settings.seed)
    parts = np.zeros(labels.size, np.int8)
    for label in _present(labels):
        if settings.mode == 'random':
            pieces = [rng.permutation(np.flatnonzero(labels == label))]
        else:
            pieces = _fields(labels == label, rng)
        sizes = np.array([len(piece) for piece in pieces])
        size = int(sizes.sum())
        take = _caps if settings.mode == 'field_caps' else _whole_then_cap
        front = take(sizes, sizes, _share('train', label, size, size - 1, settings, notes))
        room = sizes - front
        share = _share('val', label, size, int(room.sum()) - 1, settings, notes)
        back = take(sizes[::-1], room[::-1], share)[::-1]
        for piece, start, end in zip(pieces, front, sizes - back, strict=True):
            parts[piece] = TEST
            parts[piece[:start]] = TRAIN
            parts[piece[end:]] = VAL
    return parts.reshape(labels.shape)


class _Share(NamedTuple):
    """How much of a class to take: a fraction, kept between two numbers of pixels."""

    fraction: float
    low: int
    high: int

    def of(self, size: int) -> int:
        """Return the number of pixels it is of a class of ``size``."""
        return int(np.clip(_half_up(self.fraction * size), self.low, self.high))


def _share(
    part: str, label: int, size: int, room: int, settings: SplitSettings, notes: Notes
) -> _Share:
    """Return how much of a class of ``size`` pixels to take, of which ``room`` may be taken."""
    fraction, count = getattr(settings, part), getattr(settings, f'{part}_per_class')
    if isinstance(count, Sequence):
        count = count[label - 1]
    if not fraction and not count:
        return _Share(0.0, 0, 0)
    if part == 'train' and size == 1:
        add_note(notes, 'its one pixel is trained on, so it cannot be tested', label)
        return _Share(0.0, 1, 1)
    if room < 1:
        add_note(notes, 'no pixel left to validate', label)
        return _Share(0.0, 0, 0)
    if count is None:
        return _Share(fraction, min(settings.min_per_class, room), room)
    if count > room:
        asked, count = count, (room + 1) // 2
        if part == 'train' and settings.small_class is not None and settings.small_class <= room:
            count = settings.small_class
        verb = {'train': 'train', 'val': 'validate'}[part]
        add_note(notes, f'{count} of {size} pixels {verb}, {asked} were asked for', label)
    return _Share(count / size, count, count)


def _whole_then_cap(sizes: np.ndarray, room: np.ndarray, share: _Share) -> np.ndarray:
    """Return the pixels of each field to take: all while they fit, then a part of the next.

    A share is less than the whole room, so the last field is never taken whole.
    """
    before = np.cumsum(room) - room
    return np.clip(share.of(int(sizes.sum())) - before, 0, room)


def _caps(sizes: np.ndarray, room: np.ndarray, share: _Share) -> np.ndarray:
    """Return the pixels of each field to take: its fraction, corrected where there is most room."""
    taken = np.minimum(_half_up(share.fraction * sizes), room)
    for i in np.argsort(-room, kind='stable'):
        total = int(taken.sum())
        change = int(np.clip(total, share.low, share.high)) - total
        taken[i] = np.clip(taken[i] + change, 0, room[i])
    return taken


def _fields(mask: np.ndarray, rng: np.random.RandomState) -> list[np.ndarray]:
    """Return the 8-connected fields of a mask in random order, each from a random end.

    A field is its flat indices in the order of their projection on its longer principal axis, then
    of row and column.
    """
    where, number = ndimage.label(mask, np.ones((3, 3)))
    flat = np.flatnonzero(mask)
    ids = where.ravel()[flat]
    order = np.argsort(ids, kind='stable')
    pieces = np.split(flat[order], np.cumsum(np.bincount(ids)[1:-1]))
    signs = rng.randint(0, 2, number) * 2 - 1
    return [_along_axis(pieces[i], mask.shape[1], signs[i]) for i in rng.permutation(number)]


def _along_axis(flat: np.ndarray, width: int, sign: int) -> np.ndarray:
    row, col = np.divmod(flat, width)
    # Moments in exact integers: noise would turn the axis of a square from machine to machine.
    number, y, x = len(flat), int(row.sum()), int(col.sum())
    mixed = number * int(row @ col) - y * x
    difference = number * int(row @ row - col @ col) - y * y + x * x
    angle = math.atan2(2 * mixed, difference) / 2  # of the axis, 0 is along the rows' index
    # Pixels on one line across the axis tie: rounding keeps noise from ordering them.
    along = _clean(sign * (row * math.cos(angle) + col * math.sin(angle)))
    return flat[np.lexsort((col, row, along))]


def _clean(value: np.ndarray) -> np.ndarray:
    return np.round(value, 6)


def _half_up(value: np.ndarray) -> np.ndarray:
    return np.floor(_clean(value) + 0.5).astype(int)  # 0.29 * 50 is a little less than 14.5


def _present(labels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.bincount(labels.ravel())[1:]) + 1


def check_lists(settings: SplitSettings, classes: int) -> None:
    """Refuse numbers of pixels of each class that are not one for each class (ValueError)."""
    for name in ('train_per_class', 'val_per_class'):
        counts = getattr(settings, name)
        if isinstance(counts, Sequence) and len(counts) != classes:
            raise ValueError(
                f'split_cfg has {len(counts)} numbers in {name} and the labels {classes} classes: '
                'give one number for each class, or one for all'
            )


def fixed(train: np.ndarray, test: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
    """Take the masks; validation are end caps of the training mask's fields."""
    if settings.train is not None or settings.train_per_class is not None:
        raise ValueError(
            "mode='fixed' trains on train_labels: remove train and train_per_class from split_cfg"
        )
    shared = np.count_nonzero((train > 0) & (test > 0))
    if shared:
        raise DataError(
            f'train_labels and test_labels share {shared} pixels, with fixed masks none may train '
            'and test: correct the masks'
        )
    check_lists(settings, int(train.max()))
    rng = np.random.RandomState(settings.seed)
    parts = np.where(train, TRAIN, np.where(test, TEST, UNUSED)).astype(np.int8)
    for label in _present(train):
        pieces = _fields(train == label, rng)
        sizes = np.array([len(piece) for piece in pieces])
        size = int(sizes.sum())
        share = _share('val', label, size, size - 1, settings, notes)
        for piece, count in zip(pieces, _caps(sizes, sizes, share), strict=True):
            parts.flat[piece[:count]] = VAL
    return parts


def blocks(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
    """Give whole tiles to training and validation, for the rarest classes first."""
    rng = np.random.RandomState(settings.seed)
    side = settings.block_size
    rows, cols = (-(-length // side) for length in labels.shape)
    tile_of = np.add.outer(
        np.arange(labels.shape[0]) // side * cols, np.arange(labels.shape[1]) // side
    )
    tiles = rows * cols
    classes = int(labels.max()) + 1
    held = np.bincount((labels * tiles + tile_of).ravel(), minlength=classes * tiles)
    held = held.reshape(classes, tiles)
    held[0] = 0  # unlabelled
    sizes = held.sum(1)
    part_of = np.full(tiles, TEST, np.int8)
    rarest_first = sorted(_present(labels), key=lambda label: sizes[label])
    for name, part in (('train', TRAIN), ('val', VAL)):
        quotas = np.zeros_like(sizes)
        for label in rarest_first:
            size = int(sizes[label])
            left = size if part == TRAIN else int(held[label, part_of == TEST].sum())
            quota = _share(name, label, size, left - 1, settings, notes).of(size)
            quotas[label] = quota
            open_tiles = rng.permutation(np.flatnonzero((held[label] > 0) & (part_of == TEST)))
            for tile in open_tiles:
                have, gain = held[label, part_of == part].sum(), held[label, tile]
                if have >= quota or (have and gain >= 2 * (quota - have)):
                    continue  # enough, or further from enough than without it
                rest = (held[:, part_of == TEST] > 0).sum(1)
                if not ((held[:, tile] > 0) & (rest == 1)).any():
                    part_of[tile] = part
            if part == TRAIN and quota and not held[label, part_of == TRAIN].any():
                part_of[open_tiles[0]] = TRAIN  # a class must be trained before others are tested
        if quotas.any():
            share = held[:, part_of == part].sum() / sizes.sum()
            add_note(
                notes,
                f'tiles of {side} pixels give {share:.1%} of the labelled pixels to {name}, asked '
                f'for were {quotas.sum() / sizes.sum():.1%}',
            )
    return np.where(labels, part_of[tile_of], UNUSED).astype(np.int8)


def sklearn(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
    """Draw with the call of the published scripts; single pixels of a class are set apart."""
    try:
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise ImportError(
            "mode='sklearn' needs scikit-learn, which is not installed: pip install scikit-learn, "
            "or use mode='random'"
        ) from error
    if settings.train is None or settings.val_per_class is not None:
        raise ValueError(
            "mode='sklearn' draws a fraction over all classes: give train and val as fractions, or "
            "use mode='random' for pixels of each class"
        )
    flat = np.flatnonzero(labels)
    classes = labels.ravel()
    parts = np.where(labels, TEST, UNUSED).astype(np.int8).ravel()

    def draw(pool: np.ndarray, size: float | int, part: int) -> np.ndarray:
        """Give ``size`` of the pool to a part and return the rest of it."""
        if not size:
            return pool
        single = np.bincount(classes[pool])[classes[pool]] == 1
        try:
            taken, _ = train_test_split(
                pool[~single],
                train_size=size,
                random_state=settings.seed,
                stratify=classes[pool[~single]],
            )
        except ValueError as error:
            raise DataError(
                f"mode='sklearn' cannot draw train={settings.train} and val={settings.val} of "
                f'{len(flat)} pixels so that each class has one in each part: take larger '
                "fractions or use mode='random'"
            ) from error
        parts[taken] = part
        if part == TRAIN:
            parts[pool[single]] = part
            for label in classes[pool[single]]:
                add_note(notes, 'its one pixel is trained on, so it cannot be tested', label)
        return pool[parts[pool] == TEST]

    rest = draw(flat, settings.train, TRAIN)
    draw(rest, int(_half_up((settings.val or 0) * len(flat))), VAL)
    return parts.reshape(labels.shape)


def add_note(notes: Notes, sentence: str, label: int | None = None) -> None:
    """Add a sentence about a class, or about all, to notes."""
    notes.setdefault(sentence, []).extend([] if label is None else [int(label)])
