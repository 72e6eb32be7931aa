"""Pictures in batches: the order, what goes together, what is damaged, what is kept."""

import json
import threading
from pathlib import Path

import pytest

from mmvit_plugins.apis.batches import for_each_batch
from mmvit_plugins.apis.pictures import UnreadableError
from mmvit_plugins.errors import UserError


class Letters:
    """Work whose pictures are names: the first letter is their shape."""

    def __init__(self, damaged=(), stop=None) -> None:
        self.damaged, self.stop = damaged, stop
        self.batches, self.written, self.threads = [], [], set()

    def load(self, path, name):
        self.threads.add(threading.current_thread().name)
        if name in self.damaged:
            raise UnreadableError('it is cut off')
        return name

    def key(self, loaded):
        return None if loaded[0] == 'x' else loaded[0]

    def predict(self, batch):
        if batch[0] == 'x-damaged-inside':
            raise UnreadableError('a block is damaged')
        self.batches.append(batch)
        return [name.upper() for name in batch]

    def write(self, loaded, found):
        if loaded == self.stop:
            raise KeyboardInterrupt
        self.written.append(loaded)
        return [found]


def pictures(*names):
    return {name: Path(f'{name}.png') for name in names}


@pytest.mark.parametrize('workers', [0, 1, 5])
def test_one_shape_goes_together_and_the_order_stays(workers, tmp_path):
    names = ['a1', 'b1', 'a2', 'x1', 'a3', 'b2', 'a4', 'x2', 'c1']
    work = Letters()
    for_each_batch(pictures(*names), tmp_path, work, batch_size=3, workers=workers)
    assert sorted(map(tuple, work.batches)) == [
        ('a1', 'a2', 'a3'), ('a4',), ('b1', 'b2'), ('c1',), ('x1',), ('x2',),
    ]  # fmt: skip
    predictions = json.loads((tmp_path / 'predictions.json').read_text())
    assert [*predictions.items()] == [(name, [name.upper()]) for name in names]
    mine = threading.current_thread().name
    assert work.threads == {mine} if workers == 0 else mine not in work.threads


def test_pictures_of_many_shapes_do_not_pile_up(tmp_path):
    """Those that wait longest go, in a smaller batch."""
    names = [f'{letter}1' for letter in 'abcdefgh'] + ['a2']
    work = Letters()
    for_each_batch(pictures(*names), tmp_path, work, batch_size=2, workers=0)
    assert work.batches[0] == ['a1']
    assert [name for batch in work.batches for name in batch] == names


@pytest.mark.parametrize('workers', [0, 2])
def test_one_damaged_file_does_not_stop_the_rest(workers, tmp_path):
    work = Letters(damaged=('a2',))
    names = ('a1', 'a2', 'a3', 'x-damaged-inside', 'a4')
    with pytest.raises(UserError) as caught:
        for_each_batch(pictures(*names), tmp_path, work, batch_size=2, workers=workers)
    assert str(caught.value) == (
        '2 of 5 pictures could not be read: a2.png (it is cut off), x-damaged-inside.png (a block '
        'is damaged); the others were written'
    )
    assert sorted(work.written) == ['a1', 'a3', 'a4']


@pytest.mark.parametrize('workers', [0, 2])
def test_what_is_done_is_kept_when_interrupted(workers, tmp_path):
    work = Letters(stop='a3')
    names = ('a1', 'a2', 'a3', 'a4')
    with pytest.raises(KeyboardInterrupt):
        for_each_batch(pictures(*names), tmp_path, work, workers=workers)
    kept = json.loads((tmp_path / 'predictions.json').read_text())
    assert {'a1', 'a2'} <= kept.keys() and 'a3' not in kept
