"""Data sets inside of others, built and as configs."""

import pytest
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset, RepeatDataset
from torch.utils.data import ConcatDataset, Subset

from mmvit_plugins.datasets.wrappers import leaf_configs, leaf_datasets


class OneSample(BaseDataset):
    def load_data_list(self):
        return [{}]


def test_leaves_of_built_data_sets():
    first, second = OneSample(), OneSample()
    joined = ConcatDataset([RepeatDataset(first, 2), second])
    assert list(leaf_datasets(Subset(joined, [0]))) == [first, second]
    assert list(leaf_datasets(first)) == [first]


@pytest.mark.parametrize('kind', [dict, ConfigDict])
def test_leaves_of_configs(kind):
    plain, other = dict(type='A', pipeline=[]), dict(type='B')
    loader = kind(
        batch_size=2,
        dataset=dict(
            type='RepeatDataset',
            times=2,
            dataset=dict(
                type='ConcatDataset', datasets=[plain, dict(type='R', dataset=other), OneSample()]
            ),
        ),
    )
    found = list(leaf_configs(loader))
    assert [leaf['type'] for leaf in found] == ['A', 'B']
    found[1]['split'] = 'test'  # the config itself, not a copy
    assert loader['dataset']['dataset']['datasets'][1]['dataset']['split'] == 'test'
    assert list(leaf_configs(other)) == [other]
