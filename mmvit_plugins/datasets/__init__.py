"""Data: transforms that check what comes in; later data sets."""

from .checks import CheckLabels, DataError, check_dataset

__all__ = ['CheckLabels', 'DataError', 'check_dataset']
