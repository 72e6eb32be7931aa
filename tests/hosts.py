"""Small models of the hosts as configs, equality of states, and what to install for a test."""

import importlib.util
import re

import pytest
import torch

# For a fresh interpreter: as where nobody set the package up, so that no line at Python's start
# imports it when a host asks mmcv for operators
WITHOUT_STARTUP = """
import sys
sys.meta_path[:] = [x for x in sys.meta_path if getattr(x, '__name__', '') != 'MmvitPlugins']
"""


def classifier(backbone, in_channels, num_classes=10, pooled=True):
    """An image classifier of mmpretrain's; ``pooled`` if the backbone returns maps."""
    return {
        'type': 'mmpretrain.ImageClassifier',
        'backbone': backbone,
        'neck': {'type': 'mmpretrain.GlobalAveragePooling'} if pooled else None,
        'head': {
            'type': 'mmpretrain.LinearClsHead',
            'num_classes': num_classes,
            'in_channels': in_channels,
            'loss': {'type': 'mmpretrain.CrossEntropyLoss'},
        },
        'data_preprocessor': {'type': 'mmpretrain.ClsDataPreprocessor'},
    }


def segmentor(backbone, in_channels):
    """A segmentor of mmsegmentation's on four maps."""
    return {
        'type': 'mmseg.EncoderDecoder',
        'backbone': backbone,
        'decode_head': {
            'type': 'mmseg.FPNHead',
            'in_channels': list(in_channels),
            'in_index': [0, 1, 2, 3],
            'feature_strides': [4, 8, 16, 32],
            'channels': 8,
            'num_classes': 3,
        },
        'test_cfg': {'mode': 'whole'},
    }


def equal(state, expected):
    """Whether two states hold the same keys and the same numbers."""
    return state.keys() == expected.keys() and all(
        torch.equal(state[key], value) for key, value in expected.items()
    )


# what a part of the package needs, by import name -> what to give pip
OPTIONAL = {
    'h5py': 'h5py',
    'matplotlib': 'matplotlib',
    'mmdet': 'onedl-mmcv onedl-mmdetection torchvision',
    'mmpretrain': 'onedl-mmcv onedl-mmpretrain torchvision',
    'mmseg': 'onedl-mmcv onedl-mmsegmentation',
    'pycocotools': 'pycocotools',
    'pytorch_grad_cam': 'grad-cam',
    'rasterio': 'rasterio',
    'sklearn': 'scikit-learn',
    'torchvision': 'torchvision',
}


def what_to_install(error: BaseException | None) -> str | None:
    """Say what a test lacks that ended with an error, None if it lacks nothing optional."""
    while error is not None:
        if isinstance(error, pytest.skip.Exception):  # of pytest.importorskip
            name = (re.findall(r"could not import '(\w+)", str(error.msg)) or [''])[0]
        else:
            name = (isinstance(error, ImportError) and error.name or '').partition('.')[0]
        if name in OPTIONAL:
            try:
                if importlib.util.find_spec(name) is None:
                    return f'needs {name}, which is not installed: pip install {OPTIONAL[name]}'
            except ValueError:  # a stand-in without a spec
                return None
        error = error.__cause__ or error.__context__
    return None
