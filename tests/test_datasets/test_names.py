"""Names in data files: those that lead out of the data are refused, whoever reads them."""

import json
import os
from types import SimpleNamespace

import pytest

from mmvit_plugins.datasets import check_dataset
from mmvit_plugins.datasets.names import check_inside
from mmvit_plugins.errors import DataError


@pytest.mark.parametrize(
    'name', ['/etc/passwd', '../../x.jpg', 'a/../../../x.jpg', 'http://host/x.jpg', 'a\0.jpg']
)
@pytest.mark.parametrize('folder', ['data/images', '{}/data/images'])
def test_a_name_that_leads_out(tmp_path, monkeypatch, folder, name):
    monkeypatch.chdir(tmp_path)
    folder = folder.format(tmp_path)
    path = os.path.join(folder, name)  # which mmengine takes for an URL where it has ://
    with pytest.raises(DataError, match='the list names 1 files that lead out of the data'):
        check_inside([os.path.join(folder, 'good.jpg'), path], ['data', folder], 'the list')


def test_names_inside_and_links_on_the_disk_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/link').symlink_to('../elsewhere')
    names = ['data/link/1.jpg', 'data/a/../b/1.jpg', f'{tmp_path}/data/1.jpg', 'data/a..b.jpg']
    check_inside(names, ['data'], 'the list')
    check_inside(['./data/1.jpg'], ['./data/'], 'the list')
    check_inside(['s3://bucket/data/1.jpg'], ['s3://bucket/data'], 'the list')


class Listed:
    """As the hosts' data sets."""

    def __init__(self, path, **attributes):
        self.path = path
        self.__dict__.update(attributes)
        self.pipeline = SimpleNamespace(transforms=())

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return {'img_path': self.path}


def test_the_lists_of_all_hosts_are_judged(tmp_path):
    picture = tmp_path / 'out.jpg'
    picture.touch()
    root = str(tmp_path / 'data')
    for places in (dict(data_root=root), dict(data_root='', data_prefix=dict(img=root))):
        with pytest.raises(DataError, match='the train data set names 1 files that lead out'):
            check_dataset(Listed(os.path.join(root, '../out.jpg'), **places), 'train')
    # a folder that the config itself gives, and a list where it gives none, are the user's
    for places in ({}, dict(data_root=root, data_prefix=dict(img_path=str(tmp_path)))):
        check_dataset(Listed(str(picture), **places), 'train')


def test_coco_files_are_judged(tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset

    content = {
        'images': [dict(id=1, file_name='../../../etc/x.jpg', width=9, height=9)],
        'categories': [dict(id=1, name='cat')],
        'annotations': [dict(id=1, image_id=1, category_id=1, bbox=[0, 0, 5, 5], area=25)],
    }
    (tmp_path / 'a.json').write_text(json.dumps(content))
    dataset = CocoDataset(
        ann_file='a.json',
        data_root=str(tmp_path),
        data_prefix=dict(img='images/'),
        metainfo=dict(classes=('cat',)),
        pipeline=[],
    )
    with pytest.raises(DataError, match=r"lead out of the data.*etc/x\.jpg', outside of"):
        check_dataset(dataset, 'train')
