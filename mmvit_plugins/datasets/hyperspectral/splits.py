"""Which pixels of a scene train, validate and test, and how much their windows overlap.

A sample is the window round one labelled pixel. Where training and test pixels are drawn at random
nearly every test window holds training pixels; the spatial modes cut whole pieces and leave a guard
between them, pixels that are used for nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from ...errors import DataError
from ..settings import check_settings
from .labels import check_labels, union
from .reading import times
from .split_modes import Notes, add_note, blocks, check_lists, fixed, pieces, sklearn
from .split_settings import GUARD, TEST, TRAIN, VAL, SplitSettings
from .windows import check_window, holding_windows


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
    check_settings({'split_cfg': split_cfg})
    cfg = dict(split_cfg or {})
    known = [field.name for field in fields(SplitSettings)]
    for key in cfg:
        if key not in known:
            raise ValueError(f'split_cfg has no key {key!r}, its keys are {", ".join(known)}')
    settings = SplitSettings(**cfg)
    masks = [
        check_labels(mask, name)
        for mask, name in ((train_labels, 'train_labels'), (test_labels, 'test_labels'))
        if mask is not None
    ]
    labels = None if labels is None else check_labels(labels, 'labels')
    shapes = {mask.shape for mask in (*masks, labels) if mask is not None}
    if len(shapes) > 1:
        raise DataError(
            f'label maps of one scene differ in size, {" and ".join(map(times, sorted(shapes)))}: '
            'give masks of the same scene, uncropped'
        )
    if shapes:
        check_window(window_size, *next(iter(shapes)))
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
        labels, parts = union(*masks), fixed(masks[0], masks[1], settings, notes)
    else:
        if labels is None or not labels.any():
            raise DataError(
                f'{"there are no labels" if labels is None else "all pixels are unlabelled (0)"}, '
                'a split needs labelled pixels: name the right file and variable for the labels'
            )
        if settings.train is None and settings.train_per_class is None:
            settings = replace(settings, train=0.1)
        check_lists(settings, int(labels.max()))
        draw = {'sklearn': sklearn, 'block': blocks}.get(settings.mode, pieces)
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
                add_note(notes, 'validation pixels near it given up for its test', label)
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
            add_note(notes, 'no test pixel', label)
            continue
        relaxed = guard
        while not (parts[mine] == TEST).any():
            relaxed //= 2
            parts[mine & ~_near(used, relaxed)] = TEST
        add_note(notes, f'no test pixel with guard {guard}, relaxed to {relaxed} for it', label)


def _near(mask: np.ndarray, distance: int) -> np.ndarray:
    """Return which pixels are within a Chebyshev distance of a pixel of the mask."""
    return holding_windows(mask, 2 * min(distance, max(mask.shape)) + 1)


def _sentences(notes: Notes) -> tuple[str, ...]:
    """Return one sentence for all classes that it is about."""
    return tuple(
        f'class{"es" * (len(labels) > 1)} {", ".join(map(str, sorted(labels)))}: {sentence}'
        if labels
        else sentence
        for sentence, labels in notes.items()
    )
