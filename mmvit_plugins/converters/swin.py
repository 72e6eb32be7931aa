"""Published Swin checkpoints, in every naming, <-> ours.

The official files (github.com/microsoft/Swin-Transformer, its detection and segmentation
repositories, SimMIM) name stages ``layers``, and so does old timm; mmpretrain, mmsegmentation and
mmdetection name them ``stages`` and order the 4C channels of a merging as ``nn.Unfold`` does; timm
since 0.9 stands a merging at the start of its stage; torchvision numbers stages and mergings alike.
Ours keeps the official order of channels, and each direction gives back the same numbers, bit for
bit.

Position indices and shift masks are computed, not learned: loading drops them, exporting writes
those that the other code keeps in its state dict, so that it loads the file strictly. The official
masks depend on the input, which is taken as a square of 32 windows, as in every published model
(224 for windows of 7, 384 for 12); for another size the official loader makes its own.
"""

from collections.abc import Callable, Sequence
from math import isqrt

import torch
from einops import rearrange

from .layout import Layout, State
from .naming import renamer

TABLE = '.relative_position_bias_table'
COMPUTED = ('.relative_position_index', '.attn_mask')


def unfold_order(x: torch.Tensor) -> torch.Tensor:
    """Reorder a merging's last axis: C channels for each place (row + 2 column) -> unfold's."""
    return rearrange(x, '... (w h c) -> ... (c h w)', w=2, h=2)


def official_order(x: torch.Tensor) -> torch.Tensor:
    """Undo :func:`unfold_order`."""
    return rearrange(x, '... (c h w) -> ... (w h c)', w=2, h=2)


def window_of(key: str, table: torch.Tensor) -> int:
    """Tell the side M of the windows that a table ``((2M - 1)^2, heads)`` is for.

    Raises:
        ValueError: If they are not square.
    """
    window = (isqrt(len(table)) + 1) // 2
    if (2 * window - 1) ** 2 != len(table):
        raise ValueError(f'{key} has {len(table)} rows, but (2M - 1)^2 for windows of M is needed')
    return window


def position_index(window: int) -> torch.Tensor:
    """Row of the table for each query and key of a window: ``(M^2, M^2)``, int64."""
    places = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    rows, columns = (places[:, None] - places + window - 1).unbind(-1)
    return rows * (2 * window - 1) + columns


def shift_mask(window: int, side: int) -> torch.Tensor:
    """What shifted windows of a square map add to their logits, 0 or -100: ``(W, M^2, M^2)``."""
    steps = torch.arange(side)
    parts = (steps >= side - window).long() + (steps >= side - window // 2)
    regions = 3 * parts[:, None] + parts
    regions = rearrange(regions, '(i h) (j w) -> (i j) (h w)', h=window, w=window)
    return torch.where(regions[:, None] == regions[:, :, None], 0.0, -100.0)


def hint(state: State) -> str | None:
    """Tell a file of Swin V2."""
    if any(key.endswith('.logit_scale') for key in state):
        return 'it is of Swin V2, another network: mmpretrain has it as SwinTransformerV2'
    return None


def swin_layout(
    name: str,
    anchor: str,
    stem: tuple[str, str],
    blocks: Sequence[str],
    merges: Sequence[str],
    attn: str = 'attn',
    mlp: tuple[str, str] = ('mlp.fc1', 'mlp.fc2'),
    of_hosts: bool = False,
    classifier: str | None = None,
    computed: Callable[[State], State] = lambda state: {},
) -> Layout:
    """Describe one naming of Swin's weights.

    Args:
        name: What to call it.
        anchor: A key that tells its files.
        stem: Names of the first convolution and its norm.
        blocks: Names of the blocks of the four stages, the number as ``{l}``.
        merges: Names of the three mergings.
        attn: Name of the attention within a block.
        mlp: Names of the two linears of the MLP within a block.
        of_hosts: Whether the hosts' rules hold: every norm has its stage's number, and
            merging takes channels as unfold orders them. Otherwise the last norm has no number in a
            classifier, which has no other.
        classifier: Prefix of the classifier.
        computed: Makes the entries that nothing learns, from the others of this layout.
    """
    names = dict(zip(stem, ('stem.proj', 'stem.norm'), strict=True))
    for stage, block in enumerate(blocks):
        ours = f'stages.{stage}.blocks.{{l}}'
        parts = {
            'norm1': 'norm1',
            attn: 'attn',
            f'{attn}.qkv': 'attn.qkv',
            f'{attn}.proj': 'attn.proj',
            'norm2': 'norm2',
            mlp[0]: 'mlp.fc1',
            mlp[1]: 'mlp.fc2',
        }
        names |= {f'{block}.{theirs}': f'{ours}.{our}' for theirs, our in parts.items()}
        names[f'norm{stage}'] = f'stages.{stage}.norm'
    for stage, merge in enumerate(merges, 1):
        names[f'{merge}.norm'] = f'stages.{stage}.merge.norm'
        names[f'{merge}.reduction'] = f'stages.{stage}.merge.reduction'
    ours_name = renamer({**names, 'norm': 'stages.3.norm'})
    their_name = renamer({ours: theirs for theirs, ours in names.items()})

    def to_ours(state: State) -> State:
        if 'absolute_pos_embed' in state:
            raise ValueError(
                'it holds an absolute position embedding (absolute_pos_embed), which '
                'SwinTransformer does not have, nor any published model'
            )
        ours = {ours_name(key): value for key, value in state.items() if not key.endswith(COMPUTED)}
        return {
            key: official_order(value) if of_hosts and '.merge.' in key else value
            for key, value in ours.items()
        }

    def from_ours(state: State) -> State:
        theirs = {
            their_name(key): unfold_order(value) if of_hosts and '.merge.' in key else value
            for key, value in state.items()
        }
        if not of_hosts and not any(f'norm{stage}.weight' in theirs for stage in range(3)):
            theirs = {
                key.replace('norm3.', 'norm.') if key.startswith('norm3.') else key: value
                for key, value in theirs.items()
            }
        return theirs | computed(theirs)

    return Layout(
        name=name,
        anchor=anchor,
        our_anchor='stages.1.merge.reduction.weight',
        to_ours=to_ours,
        from_ours=from_ours,
        classifier=classifier,
        hint=hint,
        # below ``encoder.``, names of Hugging Face's end like the official ones
        belongs=lambda state, prefix: (
            f'{prefix}layers.0.blocks.0.layernorm_before.weight' not in state
        ),
    )


def indices(state: State) -> State:
    """Position indices of all blocks, next to their tables."""
    return {
        key.replace(TABLE, '.relative_position_index'): position_index(window_of(key, table))
        for key, table in state.items()
        if key.endswith(TABLE)
    }


def indices_and_masks(state: State) -> State:
    """Position indices, and the masks of a classifier's shifted blocks.

    The official dense models have no masks in their files.
    """
    masks = {}
    for key, table in state.items() if 'norm.weight' in state else ():
        if key.endswith(TABLE):
            block = key.removesuffix(f'.attn{TABLE}')
            _, stage, _, number = block.split('.')
            window = window_of(key, table)
            if int(number) % 2 and int(stage) < 3:  # the last map is one window: no shift
                masks[f'{block}.attn_mask'] = shift_mask(window, 8 * window >> int(stage))
    return indices(state) | masks


_PATCHES = ('patch_embed.proj', 'patch_embed.norm')
_BLOCKS = [f'layers.{stage}.blocks.{{l}}' for stage in range(4)]
SWIN = swin_layout(
    'official Swin',
    anchor='layers.0.downsample.reduction.weight',
    stem=_PATCHES,
    blocks=_BLOCKS,
    merges=[f'layers.{stage}.downsample' for stage in range(3)],
    classifier='head.',
    computed=indices_and_masks,
)
SWIN_MMPRETRAIN = swin_layout(
    'mmpretrain Swin',  # mmsegmentation's and mmdetection's too
    anchor='stages.0.blocks.0.attn.w_msa.qkv.weight',
    stem=('patch_embed.projection', 'patch_embed.norm'),
    blocks=[f'stages.{stage}.blocks.{{l}}' for stage in range(4)],
    merges=[f'stages.{stage}.downsample' for stage in range(3)],
    attn='attn.w_msa',
    mlp=('ffn.layers.0.0', 'ffn.layers.1'),
    of_hosts=True,
    computed=indices,
)
SWIN_TIMM = swin_layout(
    'timm Swin',  # since 0.9
    anchor='layers.3.downsample.reduction.weight',
    stem=_PATCHES,
    blocks=_BLOCKS,
    merges=[f'layers.{stage}.downsample' for stage in range(1, 4)],
    classifier='head.fc.',
)
SWIN_TORCHVISION = swin_layout(
    'torchvision Swin',
    anchor='features.2.reduction.weight',
    stem=('features.0.0', 'features.0.2'),
    blocks=[f'features.{place}.{{l}}' for place in (1, 3, 5, 7)],
    merges=[f'features.{place}' for place in (2, 4, 6)],
    mlp=('mlp.0', 'mlp.3'),
    classifier='head.',
    computed=lambda state: {key: index.flatten() for key, index in indices(state).items()},
)
