"""Segmentation heads on mmsegmentation's classes."""

from .afformer_head import AFFormerHead

__all__ = ['AFFormerHead']
