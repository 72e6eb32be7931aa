"""Which pixels of a scene train, validate and test, and how much their windows overlap.

A sample is the window round one labelled pixel. Where training and test pixels are drawn at random
nearly every test window holds training pixels; the spatial modes cut whole pieces and leave a guard
between them, pixels that are used for nothing.
"""

import hashlib
import math
import textwrap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ...errors import DataError
from .reading import times
from .windows import check_window, holding_windows

UNUSED, TRAIN, VAL, TEST, GUARD = range(5)
MODES = ('random', 'sklearn', 'disjoint', 'fixed', 'block', 'field_caps')
ON_EMPTY = ('relax', 'drop', 'raise')
WIDTH = 100
MAX_LABEL = 9999  # larger ones are no classes and would only blow up the tables
Notes = dict[str, list[int]]  # sentence -> the classes it is about; none if about all


@dataclass(frozen=True, eq=False)
class Split:
    """What each pixel of a scene is used for.

    Attributes:
        parts: ``(H, W)`` int8 of ``UNUSED``, ``TRAIN``, ``VAL``, ``TEST`` and ``GUARD``, read-only.
        labels: ``(H, W)`` int64, 0 = unlabelled, 1..K, read-only. With fixed masks theirs.
        mode: One of ``MODES``.
        guard: Chebyshev distance in pixels within which nothing is tested (or validated).
        seed: That of the draw.
        notes: Sentences on where the split is not quite what was asked for.
    """

    parts: np.ndarray
    labels: np.ndarray
    mode: str
    guard: int
    seed: int
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ('parts', 'labels'):  # one split serves several data sets
            view = getattr(self, name).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def counts(self, part: int, num_classes: int | None = None) -> np.ndarray:
        """Return the pixels of each class in a part, ``(K,)``; K is the largest label if None."""
        size = (num_classes or int(self.labels.max())) + 1
        return np.bincount(self.labels[self.parts == part], minlength=size)[1:]


class Overlap(NamedTuple):
    """Shares, 0 to 1, of the test pixels that see training data.

    Attributes:
        centre: Their window holds a training pixel.
        window: Their window shares a pixel with the window of a training pixel.
    """

    centre: float
    window: float


@dataclass(frozen=True)
class SplitSettings:
    """The keys of ``split_cfg``, see :func:`make_split`; raises ValueError for wrong values."""

    mode: str = 'field_caps'
    train: float | None = None
    train_per_class: int | Sequence[int] | None = None
    val: float | None = None
    val_per_class: int | Sequence[int] | None = None
    min_per_class: int = 1
    small_class: int | None = None
    guard: str | int | None = None
    seed: int = 0
    on_empty: str = 'relax'
    block_size: int = 16
    split_file: str | None = None

    def __post_init__(self) -> None:
        self._allow('mode', self.mode in MODES, ', '.join(MODES))
        self._allow('on_empty', self.on_empty in ON_EMPTY, ', '.join(ON_EMPTY))
        for part, least in (('train', 1), ('val', 0)):  # val=0 means none
            name = f'{part}_per_class'
            fraction, counts = getattr(self, part), getattr(self, name)
            if fraction is not None and counts is not None:
                raise ValueError(
                    f'split_cfg gives both {part}={fraction!r} and {name}={counts!r}: keep one, '
                    'the fraction of each class or the pixels of each class'
                )
            self._allow(
                part,
                fraction is None
                or (_is(Real, fraction) and (0 < fraction < 1 or fraction == least == 0)),
                f'a fraction above 0 and below 1 (for pixels of each class there is {name})',
            )
            listed = [counts] if counts is None or not _is(Sequence, counts) else counts
            self._allow(
                name,
                counts is None
                or (len(listed) > 0 and all(_is(Integral, n) and n >= least for n in listed)),
                f'a whole number of at least {least} or a list of one for each class',
            )
        if (self.train or 0) + (self.val or 0) >= 1:
            raise ValueError(
                f'split_cfg has train={self.train} and val={self.val}, which leaves nothing to '
                'test: together they must stay below 1'
            )
        for name, least in (('min_per_class', 1), ('small_class', 1), ('block_size', 1)):
            value = getattr(self, name)
            self._allow(
                name,
                (value is None and name == 'small_class')
                or (_is(Integral, value) and value >= least),
                f'a whole number of at least {least}',
            )
        self._allow(
            'seed', _is(Integral, self.seed) and 0 <= self.seed < 2**32, 'a whole number from 0'
        )
        self._allow(
            'guard',
            self.guard in (None, 'window', 'strict')
            or (_is(Integral, self.guard) and self.guard >= 0),
            "'window', 'strict' or a whole number of pixels of at least 0",
        )

    def _allow(self, name: str, allowed: bool, what: str) -> None:
        if not allowed:
            raise ValueError(f'split_cfg has {name}={getattr(self, name)!r}, allowed is {what}')


def make_split(
    labels: np.ndarray | None,
    split_cfg: Mapping | None,
    window_size: int,
    train_labels: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
) -> Split:
    """Decide what each labelled pixel is used for; the same arguments give the same split.

    The modes:

    - ``random``: pixels of each class at random.
    - ``sklearn``: at random by scikit-learn's ``train_test_split(..., stratify=labels)`` over the
      labelled pixels in raster order, the partition of many published results.
    - ``disjoint``: whole fields (8-connected pixels of a class) at random while they fit, then the
      end cap of the first that does not: asks for transfer to fields never seen.
    - ``field_caps``: an end cap of every field: asks for the rest of fields that were seen.
    - ``block``: square tiles at random until each class has enough; for large scenes, on small
      ones it misses the fractions by far, which a note then says.
    - ``fixed``: the masks ``train_labels`` and ``test_labels``, as some scenes come with.

    An end cap is the pixels that come first along the field's longer axis, from a random end.
    Validation is cut by the same rule from what training leaves, in fields from the other end; with
    ``fixed`` as end caps of the fields of the training mask, so that the test mask stays as it is.
    Then the guard: validation and test pixels too near to a training pixel, and test pixels too
    near to a validation pixel, are used for nothing.

    A class of one pixel is trained on and not tested: without it the network would not know the
    class, and no rule can do both. Every other class keeps a test pixel before the guard, with
    ``sklearn`` and ``block`` as far as they allow. Each exception becomes a note.

    Keys of ``split_cfg``:

    - ``mode``: Default ``field_caps``.
    - ``train``: Fraction of each class, default 0.1, rounded half up (of each field with
      ``field_caps``); or ``train_per_class``: pixels of each class, one number or a list.
    - ``val``, ``val_per_class``: The same for validation, default none. With ``fixed`` shares of
      the training mask.
    - ``min_per_class``: Least pixels of a class where fractions are given, default 1.
    - ``small_class``: Training pixels of a class that ``train_per_class`` would use up; half of it
      by default.
    - ``guard``: ``'window'`` (default; ``window_size // 2``: no window of a test pixel holds a
      training pixel), ``'strict'`` (``window_size - 1``: windows share no pixel) or pixels. 0 by
      default with ``fixed``, always with ``random`` and ``sklearn``.
    - ``seed``: Default 0.
    - ``on_empty``: For a class that the guard leaves no test pixel: ``'relax'`` (default) gives up
      the validation pixels near it, then halves its guard until it has one, ``'drop'`` leaves it
      untested, ``'raise'`` raises.
    - ``block_size``: Side of the tiles in pixels, default 16.
    - ``split_file``: A file of :func:`save_split` instead of all this; ``seed`` is then not used.

    Args:
        labels: ``(H, W)``, 0 = unlabelled, 1..K; not needed with fixed masks.
        split_cfg: The keys above; None for the defaults.
        window_size: Side of the windows in pixels, odd or even.
        train_labels: ``(H, W)`` training mask, for ``fixed``; may lie outside ``labels``.
        test_labels: ``(H, W)`` test mask, for ``fixed``.

    Returns:
        The split.

    Raises:
        DataError: Labels that are none, a window larger than the scene, or no pixel is left to
            train, validate or test.
        ValueError: A wrong key or value.
        ImportError: ``sklearn`` without scikit-learn.
    """
    cfg = dict(split_cfg or {})
    known = [field.name for field in fields(SplitSettings)]
    for key in cfg:
        if key not in known:
            raise ValueError(f'split_cfg has no key {key!r}, its keys are {", ".join(known)}')
    settings = SplitSettings(**cfg)
    masks = [
        _as_labels(mask, name)
        for mask, name in ((train_labels, 'train_labels'), (test_labels, 'test_labels'))
        if mask is not None
    ]
    labels = None if labels is None else _as_labels(labels, 'labels')
    shapes = {mask.shape for mask in (*masks, labels) if mask is not None}
    if len(shapes) > 1:
        raise DataError(
            f'label maps of one scene differ in size, {" and ".join(map(times, sorted(shapes)))}: '
            'give masks of the same scene, uncropped'
        )
    if shapes:
        check_window(window_size, *next(iter(shapes)))
    if settings.split_file is not None:
        if len(cfg) > 1 + ('seed' in cfg):
            raise ValueError(
                f'split_cfg has split_file and {", ".join(sorted(cfg.keys() - {"split_file"}))}: '
                'the file decides alone, remove the others'
            )
        return load_split(settings.split_file, labels, *masks)
    guard = settings.guard
    if settings.mode in ('random', 'sklearn') or (settings.mode == 'fixed' and guard is None):
        guard = 0
    guard = {None: window_size // 2, 'window': window_size // 2, 'strict': window_size - 1}.get(
        guard, guard
    )
    notes: Notes = {}
    if settings.mode == 'fixed':
        if len(masks) < 2:
            raise DataError(
                "mode='fixed' needs train_labels and test_labels: name the files of both masks, or "
                'take another mode'
            )
        labels, parts = _union(*masks), _fixed(*masks, settings, notes)
    else:
        if labels is None or not labels.any():
            raise DataError(
                f'{"there are no labels" if labels is None else "all pixels are unlabelled (0)"}, '
                'a split needs labelled pixels: name the right file and variable for the labels'
            )
        if settings.train is None and settings.train_per_class is None:
            settings = replace(settings, train=0.1)
        _check_lists(settings, int(labels.max()))
        draw = {'sklearn': _sklearn, 'block': _blocks}.get(settings.mode, _pieces)
        parts = draw(labels, settings, notes)
    _guard(parts, labels, guard, settings.on_empty, notes)
    split = Split(parts, labels, settings.mode, guard, settings.seed, _sentences(notes))
    wanted = [('training', TRAIN), ('test', TEST)]
    if settings.val or settings.val_per_class:
        wanted.append(('validation', VAL))
    for name, part in wanted:
        if not (parts == part).any():
            raise DataError(
                f'the split {settings.mode!r} with guard {guard} leaves no {name} pixel of '
                f'{np.count_nonzero(labels)} labelled ones: change the fractions, the guard, the '
                'window or the mode'
            )
    return split


def _pieces(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
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
        _note(notes, 'its one pixel is trained on, so it cannot be tested', label)
        return _Share(0.0, 1, 1)
    if room < 1:
        _note(notes, 'no pixel left to validate', label)
        return _Share(0.0, 0, 0)
    if count is None:
        return _Share(fraction, min(settings.min_per_class, room), room)
    if count > room:
        asked, count = count, (room + 1) // 2
        if part == 'train' and settings.small_class is not None and settings.small_class <= room:
            count = settings.small_class
        verb = {'train': 'train', 'val': 'validate'}[part]
        _note(notes, f'{count} of {size} pixels {verb}, {asked} were asked for', label)
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


def _union(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    return np.where(train, train, test)


def _check_lists(settings: SplitSettings, classes: int) -> None:
    for name in ('train_per_class', 'val_per_class'):
        counts = getattr(settings, name)
        if isinstance(counts, Sequence) and len(counts) != classes:
            raise ValueError(
                f'split_cfg has {len(counts)} numbers in {name} and the labels {classes} classes: '
                'give one number for each class, or one for all'
            )


def _fixed(
    train: np.ndarray, test: np.ndarray, settings: SplitSettings, notes: Notes
) -> np.ndarray:
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
    _check_lists(settings, int(train.max()))
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


def _blocks(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
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
            _note(
                notes,
                f'tiles of {side} pixels give {share:.1%} of the labelled pixels to {name}, asked '
                f'for were {quotas.sum() / sizes.sum():.1%}',
            )
    return np.where(labels, part_of[tile_of], UNUSED).astype(np.int8)


def _sklearn(labels: np.ndarray, settings: SplitSettings, notes: Notes) -> np.ndarray:
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
                _note(notes, 'its one pixel is trained on, so it cannot be tested', label)
        return pool[parts[pool] == TEST]

    rest = draw(flat, settings.train, TRAIN)
    draw(rest, int(_half_up((settings.val or 0) * len(flat))), VAL)
    return parts.reshape(labels.shape)


def _guard(parts: np.ndarray, labels: np.ndarray, guard: int, on_empty: str, notes: Notes) -> None:
    """Turn what is too near to training (and validation) pixels into ``GUARD``, in place."""
    parts[(parts == VAL) & _near(parts == TRAIN, guard)] = GUARD

    def untested() -> np.ndarray:
        """Return the classes without a test pixel that keeps the guard."""
        free = (parts == TEST) & ~_near((parts == TRAIN) | (parts == VAL), guard)
        return np.setdiff1d(labels[parts > 0], labels[free])

    if on_empty == 'relax':
        for label in untested():
            mine = (parts >= VAL) & (parts <= TEST) & (labels == label)
            mine &= ~_near(parts == TRAIN, guard)
            yields = (parts == VAL) & _near(mine, guard)
            if yields.any():
                parts[yields] = TEST
                _note(notes, 'validation pixels near it given up for its test', label)
    lost, asked = untested(), parts == TEST
    used = (parts == TRAIN) | (parts == VAL)
    parts[asked & _near(used, guard)] = GUARD
    for label in lost:
        if on_empty == 'raise':
            raise DataError(
                f'class {label} has no test pixel with guard {guard}: take a smaller guard, window '
                "or fraction, or on_empty='relax' or 'drop'"
            )
        mine = asked & (labels == label)
        if on_empty == 'drop' or not mine.any():
            _note(notes, 'no test pixel', label)
            continue
        relaxed = guard
        while not (parts[mine] == TEST).any():
            relaxed //= 2
            parts[mine & ~_near(used, relaxed)] = TEST
        _note(notes, f'no test pixel with guard {guard}, relaxed to {relaxed} for it', label)


def _near(mask: np.ndarray, distance: int) -> np.ndarray:
    """Return which pixels are within a Chebyshev distance of a pixel of the mask."""
    return holding_windows(mask, 2 * min(distance, max(mask.shape)) + 1)


def save_split(path: str | Path, split: Split) -> None:
    """Write a split to an ``.npz`` file, with a hash of its labels; makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
        np.savez_compressed(
            file,
            parts=split.parts,
            mode=split.mode,
            guard=split.guard,
            seed=split.seed,
            notes=np.array(split.notes, str),
            labels_hash=labels_hash(split.labels),
        )


def load_split(
    path: str | Path,
    labels: np.ndarray | None,
    train_labels: np.ndarray | None = None,
    test_labels: np.ndarray | None = None,
) -> Split:
    """Read a file of :func:`save_split`; the labels must be those that it was made from.

    Args:
        path: The file.
        labels: ``(H, W)``, 0 = unlabelled.
        train_labels: Training mask, where the split is ``fixed``.
        test_labels: Test mask, where the split is ``fixed``.

    Raises:
        DataError: The file is no split, or one of other labels.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = dict(file)
        mode, wanted = str(stored['mode']), str(stored['labels_hash'])
        parts, notes = stored['parts'], tuple(map(str, stored['notes']))
        guard, seed = int(stored['guard']), int(stored['seed'])
    except FileNotFoundError:
        raise
    except (KeyError, ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f'{path} is no split file ({error}): write one with save_split, or remove split_file'
        ) from error
    if mode == 'fixed' and train_labels is not None and test_labels is not None:
        labels = _union(train_labels, test_labels)
    if labels is None or labels_hash(labels) != wanted:
        raise DataError(
            f'{path} was made from other labels than this scene has: take the scene it was made '
            'for, or make it again'
        )
    if (
        parts.shape != labels.shape
        or parts.dtype.kind not in 'iu'
        or not np.isin(parts, range(GUARD + 1)).all()
        or parts[labels == 0].any()
    ):
        raise DataError(
            f'{path} holds parts that do not fit its labels, allowed are 0 to {GUARD}, and 0 where '
            'there is no label: write the file with save_split'
        )
    return Split(parts.astype(np.int8), labels, mode, guard, seed, notes)


def labels_hash(labels: np.ndarray) -> str:
    """Return what a label map ``(H, W)`` is known by again: size and values, whatever the type."""
    data = np.ascontiguousarray(labels, np.int64)
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()


def _as_labels(values: np.ndarray, name: str) -> np.ndarray:
    """Return a label map as an int64 copy; floats must be whole."""
    values = np.asarray(values)
    if values.ndim != 2:
        raise DataError(
            f'{name} has the shape {times(values.shape)}, a label map is height x width: name the '
            'variable that holds it'
        )
    wrong = values.dtype.kind not in 'biuf' or not (
        np.isfinite(values).all()
        and (values >= 0).all()
        and (values <= MAX_LABEL).all()
        and (values % 1 == 0).all()
    )
    if wrong:
        raise DataError(
            f'{name} ({values.dtype}) holds values that are no labels, allowed are whole numbers, '
            f'0 = unlabelled and 1 to {MAX_LABEL}: name the variable that holds the label map'
        )
    return values.astype(np.int64)


def _note(notes: Notes, sentence: str, label: int | None = None) -> None:
    notes.setdefault(sentence, []).extend([] if label is None else [int(label)])


def _sentences(notes: Notes) -> tuple[str, ...]:
    """Return one sentence for all classes that it is about."""
    return tuple(
        f'class{"es" * (len(labels) > 1)} {", ".join(map(str, sorted(labels)))}: {sentence}'
        if labels
        else sentence
        for sentence, labels in notes.items()
    )


def _is(kind: type, value: object) -> bool:
    """Tell whether a value is of a kind of number (or a sequence); True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def measure_overlap(parts: np.ndarray, window_size: int) -> Overlap:
    """Measure how many test pixels see training data through their windows.

    Args:
        parts: ``(H, W)`` of a split.
        window_size: Side of the windows in pixels.

    Returns:
        The shares of the test pixels; NaN where there are none.
    """
    test, train = parts == TEST, parts == TRAIN
    if not test.any():
        return Overlap(float('nan'), float('nan'))
    # Two windows share a pixel if their centres are less than a window apart in both directions.
    return Overlap(
        *(
            float(holding_windows(train, size)[test].mean())
            for size in (window_size, 2 * window_size - 1)
        )
    )


def report(split: Split, classes: Sequence[str], window_size: int, fit_on: str) -> str:
    """Return the split report that every run prints, at most 100 columns wide.

    Args:
        split: The split.
        classes: Names of the classes 1..K.
        window_size: Side of the windows in pixels.
        fit_on: Pixels that the band transform is fitted on.
    """
    columns = [split.counts(part, len(classes)) for part in (TRAIN, VAL, TEST, GUARD)]
    names = [f'{label:3d} {name}' for label, name in enumerate(classes, 1)]
    rows = [('class', 'train', 'val', 'test', 'guard'), *zip(names, *columns, strict=True)]
    rows.append(('    all', *(column.sum() for column in columns)))
    overlap = measure_overlap(split.parts, window_size)
    lines = [
        f'split {split.mode}, seed {split.seed}, guard {split.guard}, window {window_size}, band '
        f'transform fitted on {fit_on}',
        *(
            f'{name if len(name) < 48 else name[:44] + "...":<48}'
            + ''.join(f'{number:>9}' for number in numbers)
            for name, *numbers in rows
        ),
        f'overlap: {overlap.centre:.1%} of the test windows hold a training pixel, '
        f'{overlap.window:.1%} share a pixel with a training window',
        *(f'note: {note}' for note in split.notes),
    ]
    return '\n'.join(
        piece for line in lines for piece in textwrap.wrap(line, WIDTH, subsequent_indent='  ')
    )
