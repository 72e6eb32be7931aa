"""What a split may be asked for: the parts of a scene, the modes and the keys of ``split_cfg``."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

UNUSED, TRAIN, VAL, TEST, GUARD = range(5)
MODES = ('random', 'sklearn', 'disjoint', 'fixed', 'block', 'field_caps')
ON_EMPTY = ('relax', 'drop', 'raise')


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


def _is(kind: type, value: object) -> bool:
    """Tell whether a value is of a kind of number (or a sequence); True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
