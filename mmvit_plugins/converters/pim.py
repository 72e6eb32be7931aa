"""The combiner of PIM (github.com/chou141253/FGVC-PIM, ``GCNCombiner``) <-> our ``GraphFusion``.

That is ``GraphFusion(order='pool_gcn', pool='linear', merge='linear', gcn_norm='BN1d',
gcn_act=None)``. PIM computes C / 4 numbers q and k for each node and takes their mean, which is one
vector: the rows are averaged on the way in and all made equal on the way back. All other tensors
keep their numbers, bit for bit. The classifier behind the combiner (``classifier``) and the
projections before it (``proj_*``, where PIM has no FPN) belong to no graph: they are passed on, so
that whoever loads reports them.
"""

import torch

from .layout import Layout, State
from .naming import renamer

NAMES = {
    'param_pool0': 'pool',
    'conv1': 'conv.linear',
    'conv_q1': 'conv.query',
    'conv_k1': 'conv.key',
    'batch_norm1': 'conv.norm',
    'param_pool1': 'merge',
}
PLAIN = {'adj1': 'conv.adjacency', 'alpha1': 'conv.alpha'}
AVERAGED = ('conv.query.', 'conv.key.')
CONVOLUTIONS = ('conv.linear.weight', 'conv.query.weight', 'conv.key.weight')
NEEDED = ('pool.bias', 'merge.weight', 'conv.query.weight', 'conv.norm.running_mean')
ours_name = renamer(NAMES)
pim_name = renamer({our: theirs for theirs, our in NAMES.items()})


def to_ours(state: State) -> State:
    """PIM's state -> ours."""
    ours = {}
    for key, value in state.items():
        name = PLAIN.get(key) or ours_name(key)
        if name in CONVOLUTIONS:
            value = value.squeeze(-1)
        if name.startswith(AVERAGED):
            # in float64, so that the mean of equal rows is that row
            value = value.to(torch.float64).mean(0, keepdim=True).to(value.dtype)
        ours[name] = value
    return ours


def from_ours(state: State) -> State:
    """Ours -> PIM's state.

    Raises:
        ValueError: If the graph is of a form that PIM does not have.
    """
    missing = [key for key in NEEDED if key not in state]
    if missing or state['pool.weight'].shape[:1] != state['conv.adjacency'].shape[:1]:
        reason = f'has no {missing[0]}' if missing else 'has its convolution before the pooling'
        raise ValueError(
            f"this graph {reason}, but PIM's has order='pool_gcn', pool='linear', merge='linear', "
            "adjacency='learned_dynamic' and gcn_norm='BN1d'"
        )
    theirs, plain = {}, {our: name for name, our in PLAIN.items()}
    rows = max(state['conv.query.weight'].shape[1] // 4, 1)
    for key, value in state.items():
        if key.startswith(AVERAGED):
            value = value.repeat_interleave(rows, dim=0)
        theirs[plain.get(key) or pim_name(key)] = (
            value.unsqueeze(-1) if key in CONVOLUTIONS else value
        )
    return theirs


PIM = Layout(
    name='pim combiner',
    anchor='param_pool0.weight',
    our_anchor='conv.adjacency',
    to_ours=to_ours,
    from_ours=from_ours,
)
