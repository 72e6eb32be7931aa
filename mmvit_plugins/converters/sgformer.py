"""The official SG-Former checkpoints (github.com/OliverRensu/SG-Former) <-> ours.

Ours joins linear layers that read the same tokens, and keeps the position table as a map. Nothing
is dropped or recomputed, so either direction gives back the same numbers, bit for bit.
"""

import math
import re

import torch

from .layout import Layout, State
from .naming import renamer

# Official names -> ours, for both directions; ``{l}`` is a block.
NAMES = {'patch_embed1.norm': 'stem.norm'}
for _layer in range(3):
    NAMES[f'patch_embed1.conv.{2 * _layer}.c'] = f'stem.convs.{3 * _layer}'
    NAMES[f'patch_embed1.conv.{2 * _layer}.bn'] = f'stem.convs.{3 * _layer + 1}'
for _stage in range(4):
    _official, _ours = f'block{_stage + 1}.{{l}}', f'stages.{_stage}.blocks.{{l}}'
    NAMES[f'norm{_stage + 1}'] = f'stages.{_stage}.norm'
    NAMES |= {
        f'{_official}.{official}': f'{_ours}.{ours}'
        for official, ours in {
            'norm1': 'norm1',
            'attn.q': 'attn.q',
            'attn.sr': 'attn.sr',
            'attn.norm': 'attn.sr_norm',
            'attn.f1': 'attn.merge.0',
            'attn.f2': 'attn.merge.1',
            'attn.f3': 'attn.merge.2',
            'attn.lepe_linear': 'attn.lepe.linear',
            'attn.lepe_conv': 'attn.lepe.conv',
            'attn.proj': 'attn.proj',
            'norm2': 'norm2',
            'mlp.fc1': 'mlp.fc1',
            'mlp.dwconv.dwconv': 'mlp.depthwise.conv',
            'mlp.fc2': 'mlp.fc2',
        }.items()
    }
    if _stage:
        for _layer in range(3):
            _conv = f'patch_embed{_stage + 1}.conv{_layer + 1}'
            NAMES[f'{_conv}.c'] = f'stages.{_stage}.embed.{3 * _layer}'
            NAMES[f'{_conv}.bn'] = f'stages.{_stage}.embed.{3 * _layer + 1}'
NAMES['block4.{l}.attn.kv'] = 'stages.3.blocks.{l}.attn.kv'
ours_name = renamer(NAMES)
official_name = renamer({our: official for official, our in NAMES.items()})

# Linears of stages 1-3 that differ, in hybrid-scale (even) and self-guided (odd) blocks. Ours ->
# the official ones and which equal pieces of our rows each of them holds: keys come before values,
# and within either the first half of the heads before the second.
LINEARS: tuple[dict[str, dict[str, tuple[int, ...]]], ...] = (
    {'qkv': {'q1': (0,), 'q2': (1,), 'kv2': (2, 3)}, 'coarse_kv': {'kv1': (0,)}},
    {'kv': {'kv1': (0, 2), 'kv2': (1, 3)}},
)
OFFICIAL_LINEAR = re.compile(r'^block([123])\.(\d+)\.attn\.(?:q1|q2|kv1|kv2)\.(weight|bias)$')
OUR_LINEAR = re.compile(
    r'^stages\.([012])\.blocks\.(\d+)\.attn\.(qkv|coarse_kv|kv)\.(weight|bias)$'
)


def _join(parts: State, pieces: list[tuple[int, ...]]) -> torch.Tensor:
    """Put the rows of the official linears where ours has them."""
    rows: dict[int, torch.Tensor] = {}
    for value, places in zip(parts.values(), pieces, strict=True):
        rows.update(zip(places, value.tensor_split(len(places)), strict=True))
    if len({piece.shape for piece in rows.values()}) > 1:
        shapes = ', '.join(f'{key} {tuple(value.shape)}' for key, value in parts.items())
        raise ValueError(f'these do not belong to one attention: {shapes}')
    return torch.cat([rows[place] for place in sorted(rows)])


def to_ours(state: State) -> State:
    """Official state -> ours.

    Raises:
        ValueError: If the position table is not that of a square map, or linears of one attention
            differ in width.
    """
    rest, ours = dict(state), {}
    for match in filter(None, map(OFFICIAL_LINEAR.match, state)):
        stage, block, leaf = match.groups()
        for name, linears in LINEARS[int(block) % 2].items():
            keys = [f'block{stage}.{block}.attn.{linear}.{leaf}' for linear in linears]
            if all(key in rest for key in keys):
                ours[f'stages.{int(stage) - 1}.blocks.{block}.attn.{name}.{leaf}'] = _join(
                    {key: rest.pop(key) for key in keys}, list(linears.values())
                )
    if 'pos_embed' in rest:
        table = rest.pop('pos_embed')
        side = math.isqrt(table.shape[1]) if table.ndim == 3 else 0
        if not side or side**2 != table.shape[1]:
            raise ValueError(
                f'pos_embed has the shape {tuple(table.shape)}, but (1, L, C) with a square L is '
                'needed'
            )
        ours['stem.pos_embed'] = table.unflatten(1, (side, side))
    return ours | {ours_name(key): value for key, value in rest.items()}


def from_ours(state: State) -> State:
    """Our state -> the official one.

    Raises:
        ValueError: If the position table is not square: the official one cannot tell its sides.
    """
    official = {}
    for key, value in state.items():
        match = OUR_LINEAR.match(key)
        linears = LINEARS[int(match[2]) % 2].get(match[3]) if match else None
        if linears:
            pieces = value.tensor_split(sum(map(len, linears.values())))
            for linear, places in linears.items():
                name = f'block{int(match[1]) + 1}.{match[2]}.attn.{linear}.{match[4]}'
                official[name] = torch.cat([pieces[place] for place in places])
        elif key == 'stem.pos_embed':
            if value.ndim != 4 or value.shape[1] != value.shape[2]:
                raise ValueError(
                    f'{key} has the shape {tuple(value.shape)}, but the official table is that of '
                    'a square map, (1, g, g, C)'
                )
            official['pos_embed'] = value.flatten(1, 2)
        else:
            official[official_name(key)] = value
    return official


SGFORMER = Layout(
    name='official SG-Former',
    anchor='patch_embed1.conv.0.c.weight',
    our_anchor='stem.convs.0.weight',
    to_ours=to_ours,
    from_ours=from_ours,
    classifier='head.',
)
