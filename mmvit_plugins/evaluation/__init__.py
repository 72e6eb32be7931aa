"""How good a classification of a scene is: the confusion matrix and the scores taken from it."""

from .metric import HyperspectralMetric
from .scores import confusion_matrix, scores_of

__all__ = ['HyperspectralMetric', 'confusion_matrix', 'scores_of']
