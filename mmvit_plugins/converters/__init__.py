"""Names of other layouts of our models' weights, both ways. No files, no arguments.

``CONVERTERS`` maps a class name to the layouts that its state dict is also found in. Loading
(``checkpoint.py``) and ``tools/convert_checkpoint.py`` read this table and nothing else.
"""

from .afformer import AFFORMER, AFFORMER_HEAD
from .layout import Layout
from .lsga_vit import LSGA_VIT
from .pim import PIM
from .sgformer import SGFORMER
from .swin import SWIN, SWIN_MMPRETRAIN, SWIN_TIMM, SWIN_TORCHVISION
from .swin_huggingface import SWIN_HUGGINGFACE
from .t2t_vit import T2T_VIT, T2T_VIT_MMPRETRAIN

CONVERTERS: dict[str, tuple[Layout, ...]] = {
    'AFFormer': (AFFORMER,),
    'AFFormerHead': (AFFORMER_HEAD,),
    'GraphFusion': (PIM,),
    'LSGAViT': (LSGA_VIT,),
    'SGFormer': (SGFORMER,),
    # Hugging Face's names end as the official ones do, with another beginning: they are tried first
    'SwinTransformer': (SWIN_HUGGINGFACE, SWIN, SWIN_MMPRETRAIN, SWIN_TIMM, SWIN_TORCHVISION),
    'T2TViT': (T2T_VIT, T2T_VIT_MMPRETRAIN),
}

__all__ = ['CONVERTERS', 'Layout']
