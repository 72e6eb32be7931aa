"""Classification heads on mmpretrain's classes."""

from .mgff_head import MGFFHead

__all__ = ['MGFFHead']
