"""The official LSGA-ViT checkpoints (github.com/machao132/LSGA-VIT) <-> ours.

The authors' Gaussian is a formula and is made anew, and ``patch_embed.proj`` is read by no forward
pass: both are left out, and written again (the latter as zeros) on the way back. All other tensors
keep their numbers, bit for bit. Only ``attention='slots'`` exists there.
"""

import re

import torch

from .layout import Layout, State
from .naming import renamer

SIGMA, PATCH = 10, 3  # of the Gaussian, and of the unused convolution, as the authors set them
NAMES = {
    'patch_embed.conv3d_features.0': 'stem.conv3d',
    'patch_embed.conv3d_features.1': 'stem.norm3d',
    'patch_embed.conv2d_features.0': 'stem.conv2d',
    'patch_embed.conv2d_features.1': 'stem.norm2d',
    'patch_embed.norm': 'stem.norm',
}
for _official, _ours in {
    'norm1': 'norm1',
    'attn.qkv': 'attn.q',
    'attn.proj': 'attn.proj',
    'norm2': 'norm2',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
}.items():
    NAMES[f'layers.{{s}}.blocks.{{l}}.{_official}'] = f'stages.{{s}}.blocks.{{l}}.{_ours}'
ours_name = renamer(NAMES)
official_name = renamer({our: official for official, our in NAMES.items()})

UNUSED = 'patch_embed.proj.'
GAUSSIAN = re.compile(r'^layers\.\d+\.blocks\.\d+\.attn\.gauss_pos_index$')
OFFICIAL_PART = re.compile(
    r'^layers\.(\d+)\.(?:(blocks\.\d+\.attn)\.token_w([AV])|downsample\.(.+))$'
)
OUR_PART = re.compile(
    r'^stages\.(\d+)\.(?:(blocks\.\d+\.attn)\.(slots|value\.weight)|merge\.(.+)|(norm\.\w+))$'
)


def to_ours(state: State) -> State:
    """Official state -> ours."""
    layers = [int(key.split('.')[1]) for key in state if re.match(r'^layers\.\d+\.blocks\.', key)]
    last = max(layers, default=0)
    ours = {}
    for key, value in state.items():
        part = OFFICIAL_PART.match(key)
        if key.startswith(UNUSED) or GAUSSIAN.match(key):
            continue
        if key in ('norm.weight', 'norm.bias'):
            ours[f'stages.{last}.{key}'] = value
        elif part and part[4]:
            ours[f'stages.{int(part[1]) + 1}.merge.{part[4]}'] = value
        elif part and part[3] == 'A':
            ours[f'stages.{part[1]}.{part[2]}.slots'] = value[0]
        elif part:
            ours[f'stages.{part[1]}.{part[2]}.value.weight'] = value[0].t()
        else:
            ours[ours_name(key)] = value
    return ours


def from_ours(state: State) -> State:
    """Ours -> the complete official state.

    Raises:
        ValueError: If the attention is not that of the authors' repository.
    """
    if any('.attn.' in key for key in state) and not any(key.endswith('.slots') for key in state):
        raise ValueError("the authors' code has no other attention than 'slots'")
    official = {}
    for key, value in state.items():
        part = OUR_PART.match(key)
        if not part:
            official[official_name(key)] = value
        elif part[5]:
            official[part[5]] = value
        elif part[4]:
            official[f'layers.{int(part[1]) - 1}.downsample.{part[4]}'] = value
        elif part[3] == 'slots':
            prefix = f'layers.{part[1]}.{part[2]}'
            official[f'{prefix}.token_wA'] = value[None]
            official[f'{prefix}.gauss_pos_index'] = gaussian(value.shape[0]).to(value)
        else:
            official[f'layers.{part[1]}.{part[2]}.token_wV'] = value.t()[None]
    conv = state['stem.conv2d.weight']
    bands = conv.shape[1] // state['stem.conv3d.weight'].shape[0]
    official[f'{UNUSED}weight'] = conv.new_zeros(conv.shape[0], bands, PATCH, PATCH)
    official[f'{UNUSED}bias'] = conv.new_zeros(conv.shape[0])
    return official


def gaussian(length: int) -> torch.Tensor:
    """Make the authors' bias for so many tokens: ``(L, L)``."""
    distance = torch.arange(length) - (length - 1) // 2
    weights = (-(distance**2) / (2 * SIGMA**2)).exp()
    return torch.outer(weights, weights)


LSGA_VIT = Layout(
    name='official LSGA-ViT',
    anchor='patch_embed.conv3d_features.0.weight',
    our_anchor='stem.conv3d.weight',
    to_ours=to_ours,
    from_ours=from_ours,
    classifier='head.',
    unused=(UNUSED,),
)
