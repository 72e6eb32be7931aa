"""mmcv's operators where mmcv was installed without its compiled ones, and right where it has them.

Importing the package calls :func:`provide`; ``docs/operators.md`` says what that changes.
"""

from .provide import check_operators, provide, stands_in

__all__ = ['check_operators', 'provide', 'stands_in']
