"""Swin checkpoints of Hugging Face's ``transformers`` <-> ours.

Its names are those of ``SwinModel`` (bare, or under ``swin.`` beside a ``classifier``) and
``SwinBackbone``; query, key and value are layers of their own. Everything else is as in the
official files, so the way goes over their names.
"""

import torch

from .layout import Layout, State
from .naming import renamer
from .swin import SWIN, hint

BLOCK, OFFICIAL = 'encoder.layers.{s}.blocks.{l}', 'layers.{s}.blocks.{l}'
NAMES = {
    'embeddings.patch_embeddings.projection': 'patch_embed.proj',
    'embeddings.norm': 'patch_embed.norm',
    f'{BLOCK}.layernorm_before': f'{OFFICIAL}.norm1',
    f'{BLOCK}.attention.self': f'{OFFICIAL}.attn',
    f'{BLOCK}.attention.self.qkv': f'{OFFICIAL}.attn.qkv',
    f'{BLOCK}.attention.output.dense': f'{OFFICIAL}.attn.proj',
    f'{BLOCK}.layernorm_after': f'{OFFICIAL}.norm2',
    f'{BLOCK}.intermediate.dense': f'{OFFICIAL}.mlp.fc1',
    f'{BLOCK}.output.dense': f'{OFFICIAL}.mlp.fc2',
    'encoder.layers.{s}.downsample.norm': 'layers.{s}.downsample.norm',
    'encoder.layers.{s}.downsample.reduction': 'layers.{s}.downsample.reduction',
    'layernorm': 'norm',
    **{f'hidden_states_norms.stage{stage + 1}': f'norm{stage}' for stage in range(4)},
}
PARTS = ('query', 'key', 'value')
to_official = renamer(NAMES)
from_official = renamer({official: name for name, official in NAMES.items()})


def to_ours(state: State) -> State:
    """Join query, key and value, and rename."""
    joined = dict(state)
    for key in state:
        if '.attention.self.query.' in key:
            parts = [joined.pop(key.replace('query', part)) for part in PARTS]
            joined[key.replace('query', 'qkv')] = torch.cat(parts)
    return SWIN.to_ours({to_official(key): value for key, value in joined.items()})


def from_ours(state: State) -> State:
    """Rename, and split into query, key and value."""
    theirs: State = {}
    for name, value in SWIN.from_ours(state).items():
        key = from_official(name)
        if '.qkv.' in key:
            theirs |= {key.replace('qkv', p): x for p, x in zip(PARTS, value.chunk(3), strict=True)}
        elif not key.endswith('.attn_mask'):  # made anew for each size
            theirs[key] = value
    return theirs


SWIN_HUGGINGFACE = Layout(
    name='huggingface Swin',
    anchor='encoder.layers.0.blocks.0.layernorm_before.weight',
    our_anchor=SWIN.our_anchor,
    to_ours=to_ours,
    from_ours=from_ours,
    classifier='classifier.',
    base='swin.',
    hint=hint,
)
