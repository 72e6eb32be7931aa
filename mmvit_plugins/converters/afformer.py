"""The official AFFormer checkpoints (github.com/dongbo811/AFFormer) <-> ours.

The official code registers what the blocks of a stage share once in the stage and twice in each
block, so its files hold 112 (tiny, small) or 140 (base) repeats; its segmentation head holds a
branch ``align`` that no forward reaches. Loading checks that the repeats are equal and keeps one;
it drops ``align``. Exporting writes the repeats back, and zeros for ``align``, so that the official
code loads the file strictly.
"""

import re

import torch

from .layout import Layout, State
from .naming import renamer

# Official names -> ours, for both directions; ``{s}`` is a stage, ``{l}`` a block or a filter.
NAMES = {
    'stem.{s}.conv': 'stem.{s}.conv',
    'stem.{s}.bn': 'stem.{s}.norm',
    'mhca_stages.{s}.Restore.conv1.conv': 'stages.{s}.descriptor.reduce.conv',
    'mhca_stages.{s}.Restore.conv1.bn': 'stages.{s}.descriptor.reduce.norm',
    'mhca_stages.{s}.Restore.dwconv': 'stages.{s}.descriptor.depthwise.conv',
    'mhca_stages.{s}.Restore.norm': 'stages.{s}.descriptor.depthwise.norm',
    'mhca_stages.{s}.Restore.conv2.conv': 'stages.{s}.descriptor.expand.conv',
    'mhca_stages.{s}.Restore.conv2.bn': 'stages.{s}.descriptor.expand.norm',
    'mhca_stages.{s}.aggregate.conv': 'stages.{s}.aggregate.conv',
    'mhca_stages.{s}.aggregate.bn': 'stages.{s}.aggregate.norm',
    'mhca_stages.{s}.mhca_blks.0.cpe.proj': 'stages.{s}.position.conv',
    'mhca_stages.{s}.mhca_blks.0.crpe.conv_list.{l}': 'stages.{s}.high_pass.filters.{l}',
}
for _index, _embed in enumerate(('pixel_embed', 'prototype_embed')):
    _patch = f'patch_embed_stages.{{s}}.patch_embeds.{_index}.patch_conv'
    NAMES[f'{_patch}.dwconv'] = f'stages.{{s}}.{_embed}.depthwise'
    NAMES[f'{_patch}.pwconv'] = f'stages.{{s}}.{_embed}.pointwise.conv'
    NAMES[f'{_patch}.bn'] = f'stages.{{s}}.{_embed}.pointwise.norm'
for _official, _ours in {
    'norm1': 'norm1',
    'factoratt_crpe.qkv': 'attn.qkv',
    'factoratt_crpe.proj': 'attn.proj',
    'norm2': 'norm2',
    'mlp.fc1': 'mlp.fc1',
    'mlp.dwconv.dwconv': 'mlp.depthwise.conv',
    'mlp.fc2': 'mlp.fc2',
}.items():
    NAMES[f'mhca_stages.{{s}}.mhca_blks.0.MHCA_layers.{{l}}.{_official}'] = (
        f'stages.{{s}}.blocks.{{l}}.{_ours}'
    )
# Where a block repeats what its stage shares.
REPEAT = re.compile(
    r'^(mhca_stages\.\d+\.mhca_blks\.0)\.MHCA_layers\.\d+\.'
    r'(?:factoratt_crpe\.)?((?:cpe\.proj|crpe\.conv_list\.\d+)\..+)$'
)
HEAD = {
    *(f'convs.0.{name}' for name in ('conv.weight', 'gn.weight', 'gn.bias')),
    *('conv_seg.weight', 'conv_seg.bias'),
}
UNUSED = 'align.'  # the head's branch that no forward pass reaches
ours_name = renamer(NAMES)
official_name = renamer({our: official for official, our in NAMES.items()})


def to_ours(state: State) -> State:
    """Official backbone state -> ours; repeats must be equal.

    Raises:
        ValueError: If a repeat differs from its original, naming both.
    """
    ours: State = {}
    for key, value in state.items():
        repeat = REPEAT.match(key)
        name = f'{repeat[1]}.{repeat[2]}' if repeat else key
        if not torch.equal(ours.setdefault(ours_name(name), value), value):
            raise ValueError(f'{key} differs from the tensors that the stage shares with it')
    return ours


def from_ours(state: State) -> State:
    """Our backbone state -> the official one, repeats included."""
    official = {official_name(key): value for key, value in state.items()}
    blocks = re.compile(r'^(mhca_stages\.\d+\.mhca_blks\.0\.MHCA_layers\.\d+)\.norm1\.weight$')
    for block in [match[1] for match in map(blocks.match, official) if match]:
        stage = block.split('.MHCA_layers')[0]
        for shared, inner in (('cpe.', ('',)), ('crpe.', ('', 'factoratt_crpe.'))):
            for key in [k for k in official if k.startswith(f'{stage}.{shared}')]:
                for nested in inner:
                    official[f'{block}.{nested}{key[len(stage) + 1 :]}'] = official[key]
    return official


def hint(state: State) -> str | None:
    """Tell the authors' first generation of weights by its wide stem."""
    stem = state.get('stem.0.conv.weight')
    if stem is not None and stem.shape[0] == 32:
        return (
            "it is of the authors' first generation (a stem of 32 channels instead of 16), for "
            'which no code was published: use the files that they re-uploaded in October 2023'
        )
    return None


def head_to_ours_name(key: str) -> str:
    """Rename a tensor of the official segmentation head."""
    return key.replace('squeeze.', 'convs.0.', 1)


def head_to_ours(state: State) -> State:
    """Official segmentation head -> ours, without the branch that nothing uses."""
    return {head_to_ours_name(k): v for k, v in state.items() if not k.startswith(UNUSED)}


def head_from_ours(state: State) -> State:
    """Our segmentation head -> the official one, with zeros for the branch that nothing uses."""
    official = {key.replace('convs.0.', 'squeeze.', 1): value for key, value in state.items()}
    channels = official['squeeze.conv.weight'].shape[0]
    official['align.conv.weight'] = torch.zeros(channels, channels, 1, 1)
    official['align.gn.weight'] = torch.zeros(channels)
    official['align.gn.bias'] = torch.zeros(channels)
    return official


def head_belongs(state: State, prefix: str) -> bool:
    """Tell AFFormer's head, by itself or beside its backbone, from other heads of like names."""
    model = prefix.removesuffix('decode_head.')
    beside = any(f'{model}backbone.{anchor}' in state for anchor in AFFORMER.anchors)
    keys = {key.removeprefix(prefix) for key in state if key.startswith(prefix)}
    squeeze = state.get(f'{prefix}convs.0.conv.weight', state.get(f'{prefix}squeeze.conv.weight'))
    return (
        (not prefix or (model != prefix and beside))
        and {head_to_ours_name(key) for key in keys if not key.startswith(UNUSED)} == HEAD
        and squeeze.shape[2:] == (1, 1)
    )


AFFORMER = Layout(
    name='official AFFormer',
    anchor='patch_embed_stages.0.patch_embeds.0.patch_conv.dwconv.weight',
    our_anchor='stages.0.pixel_embed.depthwise.weight',
    to_ours=to_ours,
    from_ours=from_ours,
    hint=hint,
)
AFFORMER_HEAD = Layout(
    name='official AFFormer head',
    anchor='squeeze.conv.weight',
    our_anchor='convs.0.conv.weight',
    to_ours=head_to_ours,
    from_ours=head_from_ours,
    belongs=head_belongs,
)
