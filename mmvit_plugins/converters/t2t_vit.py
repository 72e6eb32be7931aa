"""T2T-ViT files of the authors (github.com/yitu-opensource/T2T-ViT) and of mmpretrain <-> ours.

The authors' performer holds keys, queries and values in this order, ours queries first; their last
soft split unfolds and projects, ours is the convolution that this amounts to; ours joins what their
ghost blocks hold apart. mmpretrain's ``T2T_ViT`` has transformer tokens and plain blocks only,
under other names. Nothing is dropped or recomputed, so either direction gives back the same
numbers, bit for bit. A position table of another length is passed on, the backbone resizes it.

Tensors do not tell ``14`` from ``14_resnext``: only the number of heads differs, which none of them
shows. Weights of the one load into the other and mean nothing there, so ``arch`` must be what they
were trained as, and a report that names ``14`` may mean either.
"""

import re

import torch

from .layout import Layout, State
from .naming import renamer

# Official names -> ours; ``{l}`` is a block.
TENSORS = {'cls_token': 'stages.2.cls_token', 'pos_embed': 'stages.2.pos_embed'}
NAMES = {'tokens_to_token.project': 'stages.2.embed', 'norm': 'stages.2.norm'}
for _official, _ours in {
    'norm1': 'norm1',
    'attn.qkv': 'attn.qkv',
    'attn.proj': 'attn.proj',
    'attn.se_layer.fc.0': 'attn.se.fc1',
    'attn.se_layer.fc.2': 'attn.se.fc2',
    'norm2': 'norm2',
    'mlp.fc1': 'mlp.fc1',
    'mlp.fc2': 'mlp.fc2',
    'dense_linear': 'dense_linear',
    'linear': 'linear',
}.items():
    NAMES[f'blocks.{{l}}.{_official}'] = f'stages.2.blocks.{{l}}.{_ours}'
# The two kinds of token layers, which the authors name differently and we do not.
TRANSFORMER, PERFORMER = dict(NAMES), dict(NAMES)
for _stage in range(2):
    _layer = f'tokens_to_token.attention{_stage + 1}'
    TENSORS[f'{_layer}.w'] = f'stages.{_stage}.features'
    for _ours, _transformer, _performer in (
        ('norm1', 'norm1', 'norm1'),
        ('qkv', 'attn.qkv', 'kqv'),
        ('proj', 'attn.proj', 'proj'),
        ('norm2', 'norm2', 'norm2'),
        ('mlp.fc1', 'mlp.fc1', 'mlp.0'),
        ('mlp.fc2', 'mlp.fc2', 'mlp.2'),
    ):
        TRANSFORMER[f'{_layer}.{_transformer}'] = f'stages.{_stage}.{_ours}'
        PERFORMER[f'{_layer}.{_performer}'] = f'stages.{_stage}.{_ours}'
OFFICIAL_TENSORS = {our: official for official, our in TENSORS.items()}
ours_name = renamer(TRANSFORMER | PERFORMER)
transformer_name = renamer({our: official for official, our in TRANSFORMER.items()})
performer_name = renamer({our: official for official, our in PERFORMER.items()})

KQV = re.compile(r'^tokens_to_token\.attention[12]\.kqv\.\w+$')
PROJECT, EMBED = 'tokens_to_token.project.weight', 'stages.2.embed.weight'
# What a ghost block of ours joins -> its parts in an official one.
GHOST = {
    'attn.qkv.weight': ('attn.q.weight', 'attn.k.weight', 'attn.v.weight'),
    'attn.cheap': tuple(f'attn.cheap_operation_{x}.weight' for x in 'qkv'),
    'mlp.cheap': ('mlp.cheap_operation2.weight', 'mlp.cheap_operation3.weight'),
}
GHOST_BLOCK = re.compile(r'^(?:stages\.2\.)?blocks\.(\d+)\.(?:attn|mlp)\.cheap')

# mmpretrain's names -> official ones, where they differ; ``{s}`` is a token layer.
MMPRETRAIN = {f'encoder.{{l}}.attn.{part}': f'blocks.{{l}}.attn.{part}' for part in ('qkv', 'proj')}
for _theirs, _official in {
    'ln1': 'norm1',
    'ln2': 'norm2',
    'ffn.layers.0.0': 'mlp.fc1',
    'ffn.layers.1': 'mlp.fc2',
}.items():
    MMPRETRAIN[f'encoder.{{l}}.{_theirs}'] = f'blocks.{{l}}.{_official}'
    _layer = 'tokens_to_token.attention{s}'
    MMPRETRAIN[f'{_layer}.{_theirs}'] = f'{_layer}.{_official}'
from_mmpretrain_name = renamer(MMPRETRAIN)
mmpretrain_name = renamer({official: theirs for theirs, official in MMPRETRAIN.items()})
# Parts of ours that mmpretrain's class has no place for.
NOT_IN_MMPRETRAIN = re.compile(r'\.(?:features|se|cheap|dense_linear)(?:\.|$)')


def _ghost_parts(state: State) -> dict[str, list[str]]:
    """List what the ghost blocks of a state in either layout join: our key -> official keys."""
    blocks = dict.fromkeys(match[1] for match in map(GHOST_BLOCK.match, state) if match)
    return {
        f'stages.2.blocks.{block}.{name}': [f'blocks.{block}.{part}' for part in parts]
        for block in blocks
        for name, parts in GHOST.items()
    }


def to_ours(state: State) -> State:
    """Official state -> ours.

    Raises:
        ValueError: If the projection is not one of 3x3 patches, or parts of a ghost block that
            belong together differ in size.
    """
    rest, ours = dict(state), {}
    for name, keys in _ghost_parts(state).items():
        if all(key in rest for key in keys):
            if len({rest[key].shape for key in keys}) > 1:
                shapes = ', '.join(f'{key} {tuple(rest[key].shape)}' for key in keys)
                raise ValueError(f'these do not belong to one block: {shapes}')
            parts = [rest.pop(key) for key in keys]
            cheap = name.endswith('cheap')
            ours[name] = torch.stack([x.flatten() for x in parts]) if cheap else torch.cat(parts)
    for key, value in rest.items():
        if KQV.match(key):
            k, q, v = value.tensor_split(3)
            value = torch.cat((q, k, v))
        elif key == PROJECT:
            if value.ndim != 2 or value.shape[1] % 9:
                raise ValueError(
                    f'{key} has the shape {tuple(value.shape)}, but (D, 9 C) is needed: patches of '
                    '3x3 tokens'
                )
            value = value.unflatten(1, (-1, 3, 3))
        ours[TENSORS.get(key) or ours_name(key)] = value
    return ours


def from_ours(state: State) -> State:
    """Our state -> the official one.

    Raises:
        ValueError: If the token layers are convolutions or the MLP of ghost blocks has another
            ratio than 3, either of which the authors' code cannot run.
    """
    if 'stages.0.conv.weight' in state:
        raise ValueError("stages.0.conv.weight: the authors' code cannot run convolution tokens")
    official_name = performer_name if 'stages.0.features' in state else transformer_name
    ghosts = _ghost_parts(state)
    official: State = {}
    for key, value in state.items():
        if key in ghosts:
            if key.endswith('cheap'):
                if len(value) != len(ghosts[key]):
                    raise ValueError(f"{key}: the authors' ghost MLP has mlp_ratio=3")
                parts = [part.view(-1, 1, 1) for part in value]
            else:
                parts = value.tensor_split(len(ghosts[key]))
            official.update(zip(ghosts[key], parts, strict=True))
            continue
        name = OFFICIAL_TENSORS.get(key) or official_name(key)
        if KQV.match(name):
            q, k, v = value.tensor_split(3)
            value = torch.cat((k, q, v))
        official[name] = value.flatten(1) if key == EMBED else value
    return official


def hint(state: State) -> str | None:
    """Tell what a file that was saved in part, or trained without a class token, lacks."""
    biased = 'stages.0.qkv.bias' in state  # performers only
    if biased and any(f'stages.{stage}.features' not in state for stage in range(2)):
        return (
            'it lacks the random features `w` of its performers, which belong to the weights '
            'although nothing trains them: save the whole state dict'
        )
    if 'stages.2.embed.weight' in state and 'stages.2.cls_token' not in state:
        return 'it was trained without a class token, which T2TViT always has'
    return None


def mmpretrain_to_ours(state: State) -> State:
    """State of mmpretrain's ``T2T_ViT`` -> ours; raises as :func:`to_ours`."""
    return to_ours({from_mmpretrain_name(key): value for key, value in state.items()})


def mmpretrain_from_ours(state: State) -> State:
    """Our state -> that of mmpretrain's ``T2T_ViT``.

    Raises:
        ValueError: If the variant is none of those with transformer tokens and plain blocks.
    """
    foreign = next(filter(NOT_IN_MMPRETRAIN.search, state), None)
    if foreign:
        raise ValueError(
            f"{foreign}: mmpretrain's T2T_ViT has transformer tokens and plain blocks only"
        )
    return {mmpretrain_name(key): value for key, value in from_ours(state).items()}


T2T_VIT = Layout(
    name='official T2T-ViT',
    anchor='tokens_to_token.attention1.norm1.weight',
    our_anchor='stages.2.cls_token',
    to_ours=to_ours,
    from_ours=from_ours,
    classifier='head.',
    hint=hint,
)
T2T_VIT_MMPRETRAIN = Layout(
    name='mmpretrain T2T_ViT',
    anchor='tokens_to_token.attention1.ln1.weight',
    our_anchor='stages.2.cls_token',
    to_ours=mmpretrain_to_ours,
    from_ours=mmpretrain_from_ours,
    classifier='head.layers.head.',
    hint=hint,
)
