"""NABirds: 48,562 photographs of 555 visual categories of North American birds.

Van Horn et al., Building a Bird Recognition App and Large Scale Dataset with Citizen Scientists,
CVPR 2015. mmpretrain has no class for it, and its CUB cannot read it: picture ids are no numbers
and class ids have gaps.
"""

from collections.abc import Sequence
from pathlib import Path

from mmengine.dataset import BaseDataset

from ..errors import DataError
from ..registry import DATASETS
from .checks import check_pictures
from .layouts import check_layout
from .names import check_inside
from .settings import check_settings

SPLITS = {'train': 1, 'test': 0}  # as train_test_split.txt writes them


@DATASETS.register_module()
class NABirds(BaseDataset):
    """NABirds for classification; an item is what the pipeline makes of a path and a label.

    Under ``data_root`` lie the pictures in ``images/`` and, with lines of an id, a blank and the
    rest, ``images.txt`` (path), ``image_class_labels.txt`` (class id), ``train_test_split.txt`` (1
    or 0), ``classes.txt`` (name; all nodes of the hierarchy) and ``hierarchy.txt`` (parent's id).

    Labels 0 to 554 are the ids of classes that have pictures, in ascending order as numbers.
    TransFG's loader numbers a set instead, whose order is nowhere promised, so that its labels may
    differ. ``metainfo['classes']`` is known once the files are read, as are ``class_ids``, the
    files' id of each label, and ``names``, the name of each node.

    Args:
        data_root: The folder ``nabirds`` as unpacked.
        split: ``'train'`` (23,929 pictures) or ``'test'`` (24,633).
        metainfo: Further meta information; ``classes`` replaces the files' names.
        indices: As in mmengine's ``BaseDataset``: how many samples, or which.
        serialize_data: As there: hold samples as bytes, which processes share.
        pipeline: Transforms; pictures come as ``img_path`` and ``gt_label``.
        test_mode: As there: fail on a picture that cannot be loaded instead of taking another.
        lazy_init: As there: read no files yet.
        max_refetch: As there: how often to take another one.

    Raises:
        DataError: There is no such split, or an argument is of another kind; on reading, files,
            lines, classes or pictures are missing, contradict each other or lead out of the folder.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        metainfo: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        if not isinstance(split, str) or split not in SPLITS:
            raise DataError(f'NABirds has no split {split!r}: set split to one of {tuple(SPLITS)}')
        given = {'data_root': data_root, 'metainfo': metainfo, 'pipeline': pipeline}
        check_settings({**given, 'indices': indices})
        self.split = split
        self.class_ids: tuple[int, ...] = ()
        self.names: dict[int, str] = {}
        super().__init__(
            ann_file='images.txt',
            metainfo=metainfo,
            data_root=data_root or '',
            data_prefix={'img_path': 'images'},
            indices=indices,
            serialize_data=serialize_data,
            pipeline=pipeline,
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def load_data_list(self) -> list[dict]:
        """Read the lists: a path and a label for each picture of the split."""
        check_layout('NABirds', self.data_root, self.split)
        paths = self._read('images.txt')
        classes = self._read('image_class_labels.txt', numbers=True)
        splits = self._read('train_test_split.txt', numbers=True)
        names = self._read('classes.txt')
        self.names = {self._number(key, 'classes.txt'): name for key, name in names.items()}
        for file, found in (('image_class_labels.txt', classes), ('train_test_split.txt', splits)):
            for key in sorted(paths.keys() ^ found.keys())[:1]:
                lacks, has = (file, 'images.txt') if key in paths else ('images.txt', file)
                raise self._fault(lacks, f'does not name picture {key}, which {has} does')
        for key, number in splits.items():
            if number not in SPLITS.values():
                raise self._fault(
                    'train_test_split.txt',
                    f'gives {number} for picture {key}, allowed are 1 (train) and 0 (test)',
                )
        self.class_ids = tuple(sorted(set(classes.values())))
        trained = {classes[key] for key, number in splits.items() if number == SPLITS['train']}
        for number in self.class_ids:
            if number not in self.names:
                raise self._fault('classes.txt', f'has no name for class {number}')
            if number not in trained:
                raise self._fault(
                    'train_test_split.txt',
                    f'leaves class {number} ({self.names[number]}) without pictures to train on',
                )
        self._metainfo.setdefault('classes', tuple(self.names[key] for key in self.class_ids))
        label_of = {number: label for label, number in enumerate(self.class_ids)}
        data = [
            {
                'img_path': f'{self.data_prefix["img_path"]}/{paths[key]}',
                'gt_label': label_of[classes[key]],
            }
            for key, number in splits.items()
            if number == SPLITS[self.split]
        ]
        pictures = [info['img_path'] for info in data]
        check_inside(pictures, [self.data_root], str(Path(self.data_root, 'images.txt')))
        check_pictures(pictures, f'NABirds ({self.split})')
        return data

    def load_hierarchy(self) -> dict[int, int]:
        """Read which node lies below which.

        Returns:
            The parent's id of every node but the root, in the files' ids: ``class_ids`` tells that
            of a label, ``names`` what a node is called.

        Raises:
            DataError: The file is missing or damaged, or a class is not in it.
        """
        self.full_init()
        file = 'hierarchy.txt'
        pairs = self._read(file, numbers=True)
        parents = {self._number(child, file): parent for child, parent in pairs.items()}
        for number in self.class_ids:
            if number not in parents:
                raise self._fault(file, f'has no parent for class {number} ({self.names[number]})')
        return parents

    def _read(self, name: str, numbers: bool = False) -> dict:
        """Read lines of an id and the rest, parted by the first blank."""
        file, content = Path(self.data_root, name), {}
        if not file.is_file():
            raise DataError(f'there is no file {file}: put it there or set data_root')
        for line in file.read_text('utf-8', 'replace').splitlines():
            key, _, rest = line.strip().partition(' ')
            if key and not rest:
                raise self._fault(name, f'has a line of {key!r} alone, where an id and more belong')
            if key in content:
                raise self._fault(name, f'names {key} twice')
            if key:
                content[key] = self._number(rest, name) if numbers else rest
        return content

    def _number(self, text: str, name: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise self._fault(name, f'has {text!r} where a number belongs') from None

    def _fault(self, name: str, what: str) -> DataError:
        file = Path(self.data_root, name)
        return DataError(f'{file} {what}: take all lists from one release, as they were unpacked')
