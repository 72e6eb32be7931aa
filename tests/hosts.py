"""Small models of the hosts around a backbone, as configs, and equality of states."""

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
