"""Splits: sizes, guards by brute force, overlap, and every refused setting."""

import sys

import numpy as np
import pytest

from mmvit_plugins.datasets.hyperspectral import (
    GUARD,
    TEST,
    TRAIN,
    UNUSED,
    VAL,
    make_split,
    measure_overlap,
    report,
)
from mmvit_plugins.errors import DataError

SPATIAL = ['disjoint', 'field_caps', 'block']


def fields_map():
    """Four classes in fields of several sizes; class 3 small, class 4 one single field."""
    labels = np.zeros((60, 48), np.uint8)
    labels[1:19, 1:15] = 1
    labels[1:13, 20:40] = 2
    labels[22:40, 2:20] = 2
    labels[22:34, 25:45] = 1
    labels[44:58, 2:10] = 4
    labels[44:46, 14:22] = 3
    labels[50:52, 14:26] = 3
    labels[40:58, 30:46] = 1
    labels[48, 40] = 0  # a hole
    return labels


def masks():
    train, test = np.zeros((2, 20, 20), int)
    train[:5, :10], train[:5, 10:], test[5:, :10], test[5:, 10:] = 1, 2, 1, 2
    return train, test


def far_apart(split, one, other):
    """Return the least Chebyshev distance of two parts, by comparing all pairs."""
    a, b = np.argwhere(split.parts == one), np.argwhere(split.parts == other)
    return np.abs(a[:, None] - b[None]).max(-1).min()


def windows(split, part, size):
    """Return for each pixel of a part the set of pixels in its window."""
    before, after = size // 2, size - 1 - size // 2
    return [
        {(y, x) for y in range(r - before, r + after + 1) for x in range(c - before, c + after + 1)}
        for r, c in np.argwhere(split.parts == part)
    ]


@pytest.mark.parametrize('mode', ['random', 'sklearn', *SPATIAL])
@pytest.mark.parametrize('val', [None, 0.05])
def test_every_labelled_pixel_has_one_part_and_the_seed_decides(mode, val):
    labels = fields_map()
    before = labels.copy()
    cfg = dict(mode=mode, train=0.1, val=val, seed=3, block_size=6)
    split = make_split(labels, cfg, 5)
    np.testing.assert_array_equal((split.parts != UNUSED), labels > 0)
    np.testing.assert_array_equal(labels, before)
    assert split.parts.dtype == np.int8 and split.labels.dtype == np.int64
    assert (split.counts(TRAIN) > 0).all() and (split.counts(TEST) > 0).all()
    assert (split.counts(VAL).sum() > 0) == (val is not None)
    state = np.random.get_state()[1].copy()
    again = make_split(labels.astype(float), cfg, 5)
    np.testing.assert_array_equal(again.parts, split.parts)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    other = make_split(labels, {**cfg, 'seed': 4}, 5)
    assert (other.parts != split.parts).any()
    with pytest.raises(ValueError, match='read-only'):
        split.parts[0, 0] = TRAIN


@pytest.mark.parametrize('mode', ['random', 'disjoint', 'field_caps', 'block'])
def test_validation_leaves_training_as_it_was(mode):
    cfg = dict(mode=mode, train=0.1, seed=1, block_size=6)
    alone, both = (make_split(fields_map(), {**cfg, 'val': val}, 5) for val in (0, 0.1))
    np.testing.assert_array_equal(alone.parts == TRAIN, both.parts == TRAIN)


def test_sizes_of_random_and_disjoint_are_rounded_half_up():
    labels = np.repeat([1, 2, 3, 4], [35, 45, 4, 50]).reshape(1, -1).repeat(2, 0)
    labels[1] = 0
    for mode in ('random', 'disjoint'):
        split = make_split(labels, dict(mode=mode, train=0.1, guard=0), 1)
        assert split.counts(TRAIN).tolist() == [4, 5, 1, 5], mode
    split = make_split(labels, dict(mode='random', train=0.29, val=0.1, min_per_class=3), 1)
    assert split.counts(TRAIN).tolist() == [10, 13, 3, 15]  # 0.29 * 50 is 14.499.. in floats
    assert split.counts(VAL).tolist() == [4, 5, 0, 5]
    assert split.counts(TEST).tolist() == [21, 27, 1, 30]
    assert split.notes == ('class 3: no pixel left to validate',)
    assert make_split(labels, dict(mode='random'), 1).counts(TRAIN).tolist() == [4, 5, 1, 5]


def test_counts_for_each_class_and_small_classes():
    labels = np.repeat([1, 2, 3], [100, 40, 9]).reshape(1, -1)
    split = make_split(labels, dict(mode='random', train_per_class=[50, 30, 2]), 1)
    assert split.counts(TRAIN).tolist() == [50, 30, 2] and split.notes == ()
    split = make_split(labels, dict(mode='random', train_per_class=50, small_class=15), 1)
    assert split.counts(TRAIN).tolist() == [50, 15, 4]
    assert split.notes == (
        'class 2: 15 of 40 pixels train, 50 were asked for',
        'class 3: 4 of 9 pixels train, 50 were asked for',
    )
    split = make_split(labels, dict(mode='random', train_per_class=5, val_per_class=5), 1)
    assert split.counts(VAL).tolist() == [5, 5, 2] and split.counts(TEST).tolist() == [90, 30, 2]
    for mode in ('disjoint', 'field_caps'):
        cfg = dict(mode=mode, train_per_class=[50, 20, 2], val_per_class=4, guard=0)
        split = make_split(fields_map(), {**cfg, 'train_per_class': [50, 20, 2, 9]}, 5)
        assert split.counts(TRAIN).tolist() == [50, 20, 2, 9], mode
        assert split.counts(VAL).tolist() == [4] * 4, mode


def test_a_class_of_one_pixel_is_trained_on():
    labels = fields_map()
    labels[0, 46], labels[58, 47] = 5, 7  # class 6 has no pixel at all
    for mode in ('random', 'sklearn', 'disjoint', 'field_caps', 'block'):
        split = make_split(labels, dict(mode=mode, train=0.1, val=0.05, block_size=4), 3)
        assert split.counts(TRAIN)[4:].tolist() == [1, 0, 1], mode
        assert split.counts(TEST)[4:].tolist() == [0, 0, 0]
        assert 'classes 5, 7: its one pixel is trained on, so it cannot be tested' in split.notes
        assert 'classes 5, 7: no test pixel' in split.notes
    with pytest.raises(DataError, match="class 5 has no test pixel.*on_empty='relax'"):
        make_split(labels, dict(on_empty='raise'), 3)


@pytest.mark.parametrize('mode', SPATIAL)
@pytest.mark.parametrize('window', [5, 6])
@pytest.mark.parametrize('seed', [0, 1])
def test_the_guard_keeps_windows_from_training_pixels(mode, window, seed):
    cfg = dict(mode=mode, train=0.1, val=0.05, seed=seed, block_size=12, on_empty='drop')
    split = make_split(fields_map(), cfg, window)
    assert split.guard == window // 2
    for one, other in ((TRAIN, TEST), (TRAIN, VAL), (VAL, TEST)):
        assert far_apart(split, one, other) > split.guard
    # Nothing is thrown away that would have kept its distance.
    used = np.argwhere((split.parts == TRAIN) | (split.parts == VAL))
    lost = np.argwhere(split.parts == GUARD)
    assert (np.abs(lost[:, None] - used[None]).max(-1).min(1) <= split.guard).all()
    train = set(map(tuple, np.argwhere(split.parts == TRAIN)))
    assert not any(train & window_ for window_ in windows(split, TEST, window))
    assert measure_overlap(split.parts, window).centre == 0

    strict = make_split(fields_map(), {**cfg, 'guard': 'strict'}, window)
    seen = set().union(*windows(strict, TRAIN, window))
    assert not any(seen & window_ for window_ in windows(strict, TEST, window))
    assert measure_overlap(strict.parts, window) == (0, 0)


@pytest.mark.parametrize('window', [1, 4, 5])
def test_overlap_equals_a_count_of_windows(window):
    parts = np.random.RandomState(0).choice(5, (14, 11), p=[0.5, 0.03, 0.07, 0.3, 0.1])
    split = make_split(np.ones((14, 11), int), dict(mode='random'), 1)
    object.__setattr__(split, 'parts', parts)
    train = set(map(tuple, np.argwhere(parts == TRAIN)))
    seen = set().union(*windows(split, TRAIN, window))
    tests = windows(split, TEST, window)
    expected = [np.mean([bool(w & pixels) for w in tests]) for pixels in (train, seen)]
    np.testing.assert_allclose(measure_overlap(parts, window), expected)
    assert window == 1 or 0.2 < expected[0] < expected[1]
    assert np.isnan(measure_overlap(np.zeros((3, 3)), window)).all()


def test_random_splits_overlap_and_ignore_the_guard():
    split = make_split(fields_map(), dict(mode='random', guard='strict'), 9)
    assert split.guard == 0 and not (split.parts == GUARD).any()
    assert measure_overlap(split.parts, 9).centre > 0.9


def test_disjoint_takes_whole_fields_and_one_cap():
    labels = np.zeros((30, 40), int)
    for i in range(8):  # eight fields of 12 x 4, touching at no corner
        labels[2 + 14 * (i // 4) : 14 + 14 * (i // 4), 2 + 9 * (i % 4) : 6 + 9 * (i % 4)] = 1
    split = make_split(labels, dict(mode='disjoint', train=0.3, guard=0, seed=5), 3)
    rows = (split.parts == TRAIN).reshape(30, 40)
    shares = sorted(
        rows[2 + 14 * (i // 4) : 14 + 14 * (i // 4), 2 + 9 * (i % 4) : 6 + 9 * (i % 4)].sum()
        for i in range(8)
    )
    assert shares == [0, 0, 0, 0, 0, 19, 48, 48]  # 0.3 * 384 = 115.2
    # The last field is never taken whole, however large the fraction.
    split = make_split(labels, dict(mode='disjoint', train=0.99, guard=0), 3)
    assert split.counts(TRAIN).tolist() == [380] and split.counts(TEST).tolist() == [4]


@pytest.mark.parametrize('turn', [0, 1])
def test_field_caps_are_the_ends_of_the_longer_axis(turn):
    labels = np.zeros((40, 24), int)
    labels[2:22, 1:6] = 1  # 20 x 5
    labels[1:17, 10:14] = 1  # 16 x 4
    labels[18:20, 16:18] = 1  # 2 x 2: touches the next only at a corner, so they are one field
    labels[20:22, 18:20] = 1
    labels[38, 20] = 1  # too small to give a pixel
    labels = np.rot90(labels, turn).copy()
    starts = set()
    for seed in range(6):
        split = make_split(labels, dict(mode='field_caps', train=0.1, val=0.2, seed=seed), 1)
        assert split.counts(TRAIN).tolist() == [10 + 6 + 1] and split.counts(VAL).tolist() == [
            20 + 13 + 2
        ]
        parts = np.rot90(split.parts, -turn)
        first, second = parts[2:22, 1:6], parts[1:17, 10:14]
        ends = [np.unique(first[rows]).tolist() for rows in (slice(2), slice(-2, None))]
        assert sorted(ends) == [[TRAIN], [VAL]]  # two whole lines at one end, four at the other
        assert (second == TRAIN).sum() == 6 and len({*np.nonzero(second == TRAIN)[0]}) == 2
        assert (parts[18:22, 16:20] == TRAIN).sum() == 1 and parts[38, 20] == TEST
        starts.add(ends[0][0])
    assert starts == {TRAIN, VAL}  # the end is drawn


def test_a_diagonal_field_is_cut_across_and_ties_go_by_row():
    labels = np.zeros((30, 30), int)
    for i in range(24):
        labels[i, i : i + 5] = 1
    split = make_split(labels, dict(mode='field_caps', train=0.25), 1)
    rows = np.nonzero(split.parts == TRAIN)[0]
    assert rows.max() - rows.min() < 9
    row, col = np.indices((30, 30))
    labels = (abs(row - col) <= 2).astype(int)  # its axis is the diagonal itself
    split = make_split(labels, dict(mode='field_caps', train_per_class=20), 1)
    flat = np.flatnonzero(labels)
    sums = (row + col).ravel()[flat]
    ends = [set(flat[np.lexsort((flat, sign * sums))[:20]]) for sign in (1, -1)]
    assert set(np.flatnonzero(split.parts == TRAIN)) in ends
    square = make_split(np.ones((8, 8), int), dict(mode='field_caps', train=0.25), 1)
    assert np.ptp(np.nonzero(square.parts == TRAIN)[0]) == 1  # whole rows of a square


def test_field_caps_of_tiny_fields_train_every_class():
    labels = np.zeros((20, 20), int)
    labels[::3, ::3] = 1  # fields of one pixel
    labels[1, 1] = labels[16, 16] = 2
    split = make_split(labels, dict(mode='field_caps', train=0.1), 1)
    assert split.counts(TRAIN).tolist() == [1, 1]
    split = make_split(labels, dict(mode='field_caps', train=0.6, guard=0), 1)
    assert (split.counts(TEST) >= 1).all()  # 0.6 of one pixel rounds to the whole field


def test_blocks_are_whole_tiles_and_say_what_they_gave():
    labels = np.random.RandomState(1).randint(1, 4, (60, 60))
    split = make_split(labels, dict(mode='block', train=0.1, val=0.1, block_size=10, guard=0), 5)
    tiles = split.parts.reshape(6, 10, 6, 10).transpose(0, 2, 1, 3).reshape(36, 100)
    assert all(len(set(tile)) == 1 for tile in tiles.tolist())
    share = (split.parts == TRAIN).mean()
    assert 0.08 < share < 0.15
    assert split.notes[0] == (
        f'tiles of 10 pixels give {share:.1%} of the labelled pixels to train, asked for were 10.0%'
    )
    # A tile that would lead further from what was asked for is not taken.
    cfg = dict(mode='block', train_per_class=130, block_size=10, guard=0)
    assert make_split(labels > 0, cfg, 5).counts(TRAIN).tolist() == [100]
    # Nor is the last one that a class could be tested on.
    pair = np.ones((60, 60), int)
    pair[2:8, 2:7], pair[42:48, 42:47] = 2, 2
    split = make_split(pair, dict(mode='block', train=0.9, block_size=10, guard=0), 5)
    assert split.counts(TRAIN)[1] == split.counts(TEST)[1] == 30
    # Two classes in one tile each: they are trained on, and the report says what that costs.
    labels = np.where(labels > 1, 1, labels)
    labels[3:6, 3:6], labels[33:36, 33:36] = 2, 3
    split = make_split(labels, dict(mode='block', block_size=10), 5)
    assert split.counts(TRAIN)[1:].tolist() == [9, 9]
    assert split.notes[-1] == 'classes 2, 3: no test pixel'


def test_on_empty():
    labels = np.zeros((20, 30), int)
    labels[2:18, 2:12] = 1
    labels[5:7, 20:25] = 2  # five wide: a guard of 4 from one end takes all of it
    with pytest.raises(DataError, match='class 2 has no test pixel with guard 4'):
        make_split(labels, dict(on_empty='raise'), 9)
    dropped = make_split(labels, dict(on_empty='drop'), 9)
    assert dropped.counts(TEST)[1] == 0 and dropped.notes == ('class 2: no test pixel',)
    relaxed = make_split(labels, dict(on_empty='relax'), 9)
    assert relaxed.notes == ('class 2: no test pixel with guard 4, relaxed to 2 for it',)
    own = relaxed.labels == 2
    rest = [np.argwhere(own & (relaxed.parts == part)) for part in (TRAIN, TEST)]
    assert np.abs(rest[0][:, None] - rest[1][None]).max(-1).min() == 3
    others = relaxed.labels != 2
    np.testing.assert_array_equal(relaxed.parts[others], dropped.parts[others])


def test_a_small_class_is_tested_rather_than_validated():
    labels = np.zeros((20, 40), int)
    labels[2:18, 2:12] = 1
    labels[5:7, 20:30] = 2  # ten wide: no room for three parts with a guard of 4
    cfg = dict(train=0.1, val=0.05)
    split = make_split(labels, cfg, 9)
    assert split.notes == ('class 2: validation pixels near it given up for its test',)
    assert split.counts(VAL)[1] == 0 < split.counts(TEST)[1]
    assert far_apart(split, TRAIN, TEST) > 4 and far_apart(split, VAL, TEST) > 4
    kept = make_split(labels, {**cfg, 'on_empty': 'drop'}, 9)
    assert kept.counts(VAL)[1] > 0 == kept.counts(TEST)[1]


def test_fixed_masks():
    train, test = masks()
    split = make_split(None, dict(mode='fixed'), 5, train, test)
    np.testing.assert_array_equal(split.parts, np.where(train, TRAIN, TEST))
    np.testing.assert_array_equal(split.labels, train + test)
    assert split.guard == 0
    guarded = make_split(None, dict(mode='fixed', guard='window'), 5, train, test)
    assert guarded.guard == 2 and far_apart(guarded, TRAIN, TEST) == 3
    # Labels may be fewer: training pixels outside them are allowed.
    labels = np.where(np.arange(20)[:, None] < 3, 0, train + test)
    split = make_split(labels, dict(mode='fixed', val=0.2), 5, train, test)
    assert split.counts(TRAIN).tolist() == [40, 40] and split.counts(VAL).tolist() == [10, 10]
    np.testing.assert_array_equal(split.parts == TEST, test > 0)


def test_fixed_masks_that_do_not_fit():
    train, test = masks()
    both = test.copy()
    both[0, :3] = 1
    with pytest.raises(DataError, match='share 3 pixels'):
        make_split(None, dict(mode='fixed'), 5, train, both)
    with pytest.raises(DataError, match='differ in size, 19 x 20 and 20 x 20'):
        make_split(None, dict(mode='fixed'), 5, train, test[1:])
    with pytest.raises(DataError, match='differ in size'):
        make_split(train.T[:, :9], dict(mode='fixed'), 5, train, test)
    with pytest.raises(DataError, match='needs train_labels and test_labels'):
        make_split(train, dict(mode='fixed'), 5, train)
    with pytest.raises(ValueError, match='remove train and train_per_class'):
        make_split(None, dict(mode='fixed', train=0.1), 5, train, test)
    with pytest.raises(DataError, match='leaves no training pixel'):
        make_split(None, dict(mode='fixed'), 5, train * 0, test)


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (dict(train=0), 'train=0, allowed is a fraction above 0 and below 1.*train_per_class'),
        (dict(train=1), 'train=1, allowed'),
        (dict(train=1.5), 'train=1.5, allowed'),
        (dict(train=-0.1), 'train=-0.1, allowed'),
        (dict(train='0.1'), "train='0.1', allowed"),
        (dict(train=True), 'train=True, allowed'),
        (dict(train=float('nan')), 'train=nan, allowed'),
        (dict(val=1.0), 'val=1.0, allowed'),
        (dict(train=0.6, val=0.4), 'leaves nothing to test'),
        (dict(train=0.1, train_per_class=5), 'both train=0.1 and train_per_class=5'),
        (dict(val=0.1, val_per_class=5), 'both val'),
        (dict(train_per_class=0), 'train_per_class=0, allowed is a whole number of at least 1'),
        (dict(train_per_class=2.5), 'train_per_class=2.5, allowed'),
        (dict(train_per_class=[]), 'allowed is a whole number'),
        (dict(train_per_class='many'), "train_per_class='many', allowed"),
        (dict(train_per_class=[3, 3]), '2 numbers in train_per_class and the labels 4 classes'),
        (dict(val_per_class=[3, 3]), '2 numbers in val_per_class'),
        (dict(mode='sklearn', train_per_class=4), 'give train and val as fractions'),
        (dict(mode='blocks'), "mode='blocks', allowed is random, sklearn, disjoint"),
        (dict(fraction=0.1), "no key 'fraction', its keys are mode, train"),
        (dict(guard='windows'), "guard='windows', allowed is 'window', 'strict' or a whole"),
        (dict(guard=-1), 'guard=-1'),
        (dict(guard=1.5), 'guard=1.5'),
        (dict(seed=-1), 'seed=-1'),
        (dict(seed=None), 'seed=None'),
        (dict(min_per_class=0), 'min_per_class=0, allowed is a whole number of at least 1'),
        (dict(small_class=0), 'small_class=0'),
        (dict(block_size=0), 'block_size=0'),
        (dict(on_empty='ignore'), 'allowed is relax, drop, raise'),
    ],
)
def test_wrong_settings(cfg, words):
    with pytest.raises(ValueError, match=words) as caught:
        make_split(fields_map(), cfg, 5)
    assert '\n' not in str(caught.value) and '. ' not in str(caught.value)


@pytest.mark.parametrize(
    ('labels', 'words'),
    [
        (np.zeros((9, 9)), 'all pixels are unlabelled'),
        (None, 'there are no labels'),
        (np.full((9, 9), 1.5), 'labels .float64. holds 1.5, which is no label'),
        (np.full((9, 9), np.nan), 'no label: allowed are'),
        (np.full((9, 9), -1), 'no label: allowed are'),
        (np.full((9, 9), 65536), 'holds 65536, .* 1 to K, at most 65535'),
        (np.full((9, 9), 'a'), 'no label: allowed are'),
        (np.ones((9, 9, 3)), 'shape 9 x 9 x 3, a label map is height x width'),
        (np.eye(9)[:, :4], 'a window of 5 x 5 pixels is larger than the scene of 9 x 4'),
        (np.pad([[2]], 4), 'leaves no test pixel of 1 labelled ones'),
    ],
)
def test_labels_that_cannot_be_split(labels, words):
    with pytest.raises(DataError, match=words):
        make_split(labels, dict(train=0.5), 5)


def test_no_pixel_left():
    labels = np.ones((12, 12), int)
    with pytest.raises(DataError, match='leaves no test pixel of 144'):
        make_split(labels, dict(guard=10**6, on_empty='drop'), 5)
    with pytest.raises(DataError, match='leaves no validation pixel'):
        make_split(labels, dict(guard=10**6, val=0.1), 5)
    with pytest.raises(DataError, match="cannot draw train=0.001 .* use mode='random'"):
        make_split(fields_map()[:30], dict(mode='sklearn', train=0.001), 5)


def test_sklearn_is_the_published_call(monkeypatch):
    from sklearn.model_selection import train_test_split

    labels = fields_map()
    flat = np.flatnonzero(labels)
    train, _ = train_test_split(flat, train_size=0.1, random_state=5, stratify=labels.flat[flat])
    split = make_split(labels, dict(mode='sklearn', train=0.1, seed=5), 9)
    np.testing.assert_array_equal(np.flatnonzero(split.parts == TRAIN), np.sort(train))
    with_val = make_split(labels, dict(mode='sklearn', train=0.1, val=0.05, seed=5), 9)
    np.testing.assert_array_equal(with_val.parts == TRAIN, split.parts == TRAIN)
    assert (with_val.parts == VAL).sum() == np.floor(0.05 * len(flat) + 0.5)

    monkeypatch.setitem(sys.modules, 'sklearn', None)
    monkeypatch.setitem(sys.modules, 'sklearn.model_selection', None)
    with pytest.raises(ImportError, match="pip install scikit-learn, or use mode='random'"):
        make_split(labels, dict(mode='sklearn'), 9)


def test_report():
    split = make_split(fields_map(), dict(train=0.1, val=0.05, seed=2, guard='strict'), 7)
    names = ['Corn', 'A name of a class that is much longer than any column could be', 'C', 'D']
    text = report(split, names, 7, 'train_window')
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == (
        'split field_caps, seed 2, guard 6, window 7, band transform fitted on train_window'
    )
    counts = [split.counts(part) for part in (TRAIN, VAL, TEST, GUARD)]
    for i, line in enumerate(lines[2:6]):
        assert line.split()[0] == str(i + 1)
        assert line.split()[-4:] == [str(column[i]) for column in counts]
    assert lines[6].split() == ['all', *(str(column.sum()) for column in counts)]
    overlap = measure_overlap(split.parts, 7)
    assert f'{overlap.centre:.1%} of the test windows hold a training pixel' in lines[7]
    assert f'{overlap.window:.1%} share a pixel' in lines[7]
    assert split.notes and all(note in ' '.join(text.split()) for note in split.notes)
    assert split.counts(TRAIN, 9).shape == (9,)
    assert len(report(split, [*names, 'absent'], 7, 'scene').splitlines()) == len(lines) + 1
