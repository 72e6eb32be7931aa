"""Graph convolution over the tokens of several maps, and their pooling into one vector.

Sources: Xu et al., "Two-stage fine-grained image classification model based on multi-granularity
feature fusion", Pattern Recognition 146 (2024), which has no code; and the combiner of its
ancestor, Chou et al., "A Novel Plug-in Module for Fine-Grained Visual Classification",
arXiv:2202.03822 (github.com/chou141253/FGVC-PIM, MIT), whose weights load into
:class:`GraphFusion`. This is an independent implementation.
"""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from ...checkpoint import ConvertsOnLoad
from ...layers import attention, init_linears
from ..checks import check_options, check_positive

ADJACENCIES = ('learned_dynamic', 'similarity', 'identity', None)
ADJ_INITS = ('balanced', 'pim')
NORMS = ('BN1d', 'LN', None)
ACTS = {'ReLU': nn.ReLU, 'GELU': nn.GELU, None: nn.Identity}
ORDERS = ('gcn_pool', 'pool_gcn')
POOLS = ('linear', 'soft', 'avg')
MERGES = ('mean', 'linear')
SIMILARITY_RATIO = 8  # channels over those that similarity is measured in
NODES_PER_SUPER = 32  # by default, as in PIM


def initial_adjacency(nodes: int, adj_init: str) -> torch.Tensor:
    """Make the adjacency that training starts from: ``(nodes, nodes)``.

    'pim', as PIM has it, is 0.01 in every place and 0.02 on the diagonal. It is made for PIM's few
    super nodes: of several hundred nodes the others together outweigh a node's own part so far that
    all become equal. In 'balanced', one half is a node's own part and one half the mean of all.
    """
    if adj_init == 'pim':
        return torch.full((nodes, nodes), 0.01).fill_diagonal_(0.02)
    return 0.5 * torch.eye(nodes) + 0.5 / nodes


class GraphConv(nn.Module):
    """One graph convolution: ``Y = act(norm(A^T (X W + b)))``, ``(N, n, C) -> (N, n, C)``.

    Args:
        channels: C.
        nodes: n, needed where the adjacency is learned.
        adjacency: 'learned_dynamic': ``A = A_0 + alpha tanh(q_i - k_j)`` with a learned
            ``A_0``, a learned number alpha that starts at 0, and one number q and k for each node.
            'similarity': in the place of ``A^T`` the softmax, over the nodes that are looked at, of
            scaled products in C / 8 channels, for any number of nodes. 'identity': each node alone.
        adj_init: How ``A_0`` starts, see :func:`initial_adjacency`.
        norm: 'BN1d', over pictures and nodes; 'LN'; None.
        act: 'ReLU', 'GELU' or None.

    Raises:
        ValueError: If ``nodes`` is missing.
    """

    def __init__(
        self,
        channels: int,
        nodes: int | None,
        adjacency: str = 'learned_dynamic',
        adj_init: str = 'balanced',
        norm: str | None = 'BN1d',
        act: str | None = 'ReLU',
    ):
        super().__init__()
        self.adjacency = self.alpha = self.query = self.key = None
        if adjacency == 'learned_dynamic':
            if nodes is None:
                raise ValueError(
                    "GraphConv: adjacency='learned_dynamic' has a number for each pair of nodes, "
                    "so nodes=None is not possible; give their number, or take 'similarity'"
                )
            self.adjacency = nn.Parameter(initial_adjacency(nodes, adj_init))
            self.alpha = nn.Parameter(torch.zeros(1))
        if adjacency != 'identity':
            width = 1 if adjacency == 'learned_dynamic' else max(channels // SIMILARITY_RATIO, 1)
            self.query = nn.Linear(channels, width)
            # behind a softmax over nodes a key's bias would change nothing
            self.key = nn.Linear(channels, width, bias=adjacency != 'similarity')
        self.linear = nn.Linear(channels, channels)
        norms = {'BN1d': nn.BatchNorm1d, 'LN': nn.LayerNorm, None: nn.Identity}
        self.norm = norms[norm](channels)
        self.act = ACTS[act]()
        init_linears(self)

    def edges(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the adjacency A of nodes X, in float32 at least: ``(N, n, C) -> (N, n, n)``."""
        q, k = (layer(x).to(self.alpha.dtype) for layer in (self.query, self.key))
        return torch.addcmul(self.adjacency, self.alpha, torch.tanh(q - k.mT))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Let the nodes look at each other."""
        y = self.linear(x)
        if self.adjacency is not None:
            y = self.edges(x).to(y.dtype).mT @ y
        elif self.query is not None:
            q, k, v = (t.unsqueeze(1) for t in (self.query(x), self.key(x), y))
            y = attention(q, k, v).squeeze(1)
        # batch norm takes (N n, C), which is a view, where (N, C, n) would be a copy
        return self.act(self.norm(y.flatten(0, 1)).unflatten(0, y.shape[:2]))

    @property
    def is_linear(self) -> bool:
        """Whether, for a given adjacency, nodes come out as a linear function of what went in."""
        frozen = isinstance(self.norm, nn.BatchNorm1d) and not self.norm.training
        plain = frozen or isinstance(self.norm, nn.Identity)
        learned = self.adjacency is not None or self.query is None
        return plain and learned and isinstance(self.act, nn.Identity)

    def weighted_sum(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Sum the nodes that ``forward`` gives, by weights: ``(N, n, C), (n,) -> (N, C)``.

        Only where ``is_linear``: ``p^T (A^T (X W + b)) = ((A p)^T X) W + sum(A p) b``, two products
        of a matrix and a vector, in which neither n x n x C nor n x C x C numbers are multiplied.
        """
        spread = weights.expand(x.shape[0], -1)
        if self.adjacency is not None:
            spread = self.edges(x) @ weights.to(self.adjacency.dtype)
        total = (spread.to(x.dtype).unsqueeze(1) @ x).squeeze(1)
        y = F.linear(total, self.linear.weight)
        y = y + spread.sum(dim=1, keepdim=True).to(y.dtype) * self.linear.bias
        norm = self.norm
        if isinstance(norm, nn.BatchNorm1d):
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            y = y * scale + weights.sum() * (norm.bias - norm.running_mean * scale)
        return y


class GraphFusion(ConvertsOnLoad, BaseModule):
    """Nodes in, one vector out: ``(N, n, C) -> (N, C)``; with ``pool=None`` nodes, ``(N, n, C)``.

    Graph convolution, pooling into super nodes, mean of these. With ``pool='linear'`` and
    ``pool_act=None`` the super nodes' mean is a learned weighted mean of the nodes whatever their
    number is: they are never built then, and ``num_supers`` changes nothing that the module can
    express. It matters with ``pool_act`` and with ``order='pool_gcn'``.

    Weights of PIM's ``GCNCombiner`` load into ``order='pool_gcn', merge='linear', gcn_act=None``.

    Args:
        channels: C.
        nodes: n; None for any number, where nothing is learned for each node.
        adjacency: See :class:`GraphConv`; None leaves the convolution out.
        adj_init: See :class:`GraphConv`.
        gcn_norm: 'BN1d', 'LN' or None.
        gcn_act: 'ReLU', 'GELU' or None.
        order: 'gcn_pool', the paper's, or 'pool_gcn', PIM's: the graph's nodes are the super
            nodes then.
        pool: 'linear': learned weights for each node. 'soft': softmax, over the
            nodes, of a linear layer of them. 'avg': one super node, the mean, whatever
            ``num_supers`` and ``merge`` say. None: no pooling.
        num_supers: Super nodes, by default one for 32 nodes.
        pool_act: Activation of the super nodes: 'ReLU', 'GELU' or None.
        merge: 'mean' of the super nodes, or a 'linear' layer over them.
        init_cfg: mmengine's initialisation.

    Raises:
        ValueError: For a wrong argument, naming what is allowed.
    """

    may_be_absent = True  # a backbone's file has no neck

    def __init__(
        self,
        channels: int,
        nodes: int | None,
        adjacency: str | None = 'learned_dynamic',
        adj_init: str = 'balanced',
        gcn_norm: str | None = 'BN1d',
        gcn_act: str | None = 'ReLU',
        order: str = 'gcn_pool',
        pool: str | None = 'linear',
        num_supers: int | None = None,
        pool_act: str | None = None,
        merge: str = 'mean',
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_options(
            'GraphFusion',
            adjacency=(adjacency, ADJACENCIES),
            adj_init=(adj_init, ADJ_INITS),
            gcn_norm=(gcn_norm, NORMS),
            gcn_act=(gcn_act, ACTS),
            order=(order, ORDERS),
            pool=(pool, (*POOLS, None)),
            pool_act=(pool_act, ACTS),
            merge=(merge, MERGES),
        )
        instead = {
            "pool='linear'": "pool='soft' or 'avg'",
            "adjacency='learned_dynamic'": "adjacency='similarity', 'identity' or None",
        }
        fixed = [a for a in (f'pool={pool!r}', f'adjacency={adjacency!r}') if a in instead]
        if nodes is None and fixed:
            raise ValueError(
                f'GraphFusion: with {" and ".join(fixed)} a number is learned for each node, so '
                'there must be a fixed number of them (grid_size); for any number take '
                f'{" and ".join(instead[argument] for argument in fixed)}'
            )
        if pool in ('avg', None) and order == 'pool_gcn':
            raise ValueError(
                f"GraphFusion: order='pool_gcn' needs super nodes, pool={pool!r} makes none; take "
                "pool='linear' or 'soft', or order='gcn_pool'"
            )
        if num_supers is None:
            num_supers = max((nodes or NODES_PER_SUPER) // NODES_PER_SUPER, 1)
        check_positive('GraphFusion', num_supers=num_supers)
        self.channels = channels
        self.nodes = nodes
        self.order = order
        self.pool_type = pool
        self.pool = self.merge = self.conv = None
        if pool == 'linear':
            self.pool = nn.Linear(nodes, num_supers)
        elif pool == 'soft':
            self.pool = nn.Linear(channels, num_supers, bias=False)  # the softmax would not see it
        self.pool_act = ACTS[pool_act]()
        if self.pool is not None and merge == 'linear':
            self.merge = nn.Linear(num_supers, 1)
        init_linears(self)
        if self.pool_type == 'linear':
            # at first a mean of the nodes, whatever their number is
            nn.init.normal_(self.pool.weight, 1 / nodes, 0.5 / nodes)
        if self.merge is not None:
            nn.init.normal_(self.merge.weight, 1 / num_supers, 0.5 / num_supers)
        if adjacency is not None:
            size = num_supers if order == 'pool_gcn' else nodes
            self.conv = GraphConv(channels, size, adjacency, adj_init, gcn_norm, gcn_act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fuse the nodes."""
        self.check_input(x)
        if self.order == 'pool_gcn':
            return self._merged(self.pool_act(self._pooled(x)), self.conv)
        if self.pool_type is None:
            return x if self.conv is None else self.conv(x)
        if not isinstance(self.pool_act, nn.Identity) or self.pool_type == 'soft':
            x = x if self.conv is None else self.conv(x)
            return self._merged(self.pool_act(self._pooled(x)), None)
        # The super nodes would only be averaged: go from the nodes to their mean at once.
        if self.pool_type == 'avg':
            weights, constant = x.new_full((x.shape[1],), 1 / x.shape[1]), 0
        else:
            shares = self._shares(x)
            weights = shares @ self.pool.weight
            constant = shares @ self.pool.bias
            if self.merge is not None:
                constant = constant + self.merge.bias
        return weighted_sum(x, weights, self.conv) + constant

    def check_input(self, x: torch.Tensor) -> None:
        """Refuse other nodes than were announced.

        Raises:
            ValueError: Naming both shapes.
        """
        if x.ndim != 3 or x.shape[2] != self.channels or self.nodes not in (None, x.shape[1]):
            raise ValueError(
                f'GraphFusion: the nodes have the shape {tuple(x.shape)}, but '
                f'(N, {self.nodes or "n"}, {self.channels}) is needed'
            )

    def _shares(self, like: torch.Tensor) -> torch.Tensor:
        """Tell what each super node adds to the vector: ``(K,)``."""
        if self.merge is not None:
            return self.merge.weight[0]
        if self.pool is None:
            return torch.ones(1, device=like.device, dtype=like.dtype)
        supers = self.pool.out_features
        return self.pool.weight.new_full((supers,), 1 / supers)

    def _pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Pool nodes into super nodes: ``(N, n, C) -> (N, K, C)``."""
        if self.pool is None:
            return x.mean(dim=1, keepdim=True)
        if self.pool_type == 'linear':
            weight = self.pool.weight.to(x.dtype)
            return weight @ x + self.pool.bias.to(x.dtype)[:, None]
        # weights of nodes sum to 1 for each super node; the softmax is in float32 at least
        scores = self.pool(x)
        weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(dim=1)
        return weights.to(x.dtype).mT @ x

    def _merged(self, x: torch.Tensor, conv: GraphConv | None) -> torch.Tensor:
        """Join super nodes, after a convolution: ``(N, K, C) -> (N, C)``."""
        vector = weighted_sum(x, self._shares(x), conv)
        return vector if self.merge is None else vector + self.merge.bias


def weighted_sum(x: torch.Tensor, weights: torch.Tensor, conv: GraphConv | None) -> torch.Tensor:
    """Sum nodes by weights, after a convolution: ``(N, n, C), (n,) -> (N, C)``."""
    if conv is not None:
        if conv.is_linear:
            return conv.weighted_sum(x, weights)
        x = conv(x)
    return weights.to(x.dtype) @ x
