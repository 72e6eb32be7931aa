"""Whole classifiers on mmpretrain's classes."""

from .two_stage import TwoStageClassifier

__all__ = ['TwoStageClassifier']
