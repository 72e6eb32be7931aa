"""Names of other layouts of our models' weights, both ways. Torch only: no files, no arguments.

``CONVERTERS`` maps a class name to the layouts that its state dict is also found in. Loading
(``checkpoint.py``) and ``tools/convert_checkpoint.py`` read this table and nothing else.
"""

from .afformer import AFFORMER, AFFORMER_HEAD
from .layout import Layout
from .sgformer import SGFORMER

CONVERTERS: dict[str, tuple[Layout, ...]] = {
    'AFFormer': (AFFORMER,),
    'AFFormerHead': (AFFORMER_HEAD,),
    'SGFormer': (SGFORMER,),
}

__all__ = ['CONVERTERS', 'Layout']
