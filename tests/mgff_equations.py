"""The equations of MGFF and of its ancestor's combiner, one at a time, in NumPy and float64.

Written from the formulas, not from the modules: loops over pictures, heads, places and nodes, and
no shortcut. Arrays are channels last: a map is ``(N, H, W, C)``, tokens and nodes ``(N, L, C)``.
Parameters come as a dict of arrays, named as in the state dict of the module.
"""

import math

import numpy as np

LN_EPS = BN_EPS = 1e-5


def parameters(module, prefix=''):
    """The module's state as float64 arrays, of names under a prefix, which is cut off."""
    return {
        key[len(prefix) :]: value.detach().double().numpy()
        for key, value in module.state_dict().items()
        if key.startswith(prefix)
    }


def under(p, prefix):
    return {key[len(prefix) :]: value for key, value in p.items() if key.startswith(prefix)}


def nhwc(x):
    return x.detach().double().permute(0, 2, 3, 1).numpy()


def linear(x, p, name):
    out = x @ p[f'{name}.weight'].T
    return out + p[f'{name}.bias'] if f'{name}.bias' in p else out


def softmax(x):
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x, p, name):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + LN_EPS) * p[f'{name}.weight'] + p[f'{name}.bias']


def unify(x, p, kernel):
    """Convolution with kernel = stride, zeros to the right and below up to a multiple."""
    if not p:
        return x
    weight = p['conv.weight']  # (C', C, k, k)
    batch, height, width, _ = x.shape
    rows, columns = -(-height // kernel), -(-width // kernel)
    out = np.zeros((batch, rows, columns, len(weight)))
    for i in range(rows):
        for j in range(columns):
            for a in range(kernel):
                for b in range(kernel):
                    y, z = i * kernel + a, j * kernel + b
                    if y < height and z < width:
                        out[:, i, j] += x[:, y, z] @ weight[:, :, a, b].T
    return out + p['conv.bias']


def resize(x, size):
    """Bilinear, centres of pixels at halves, the border repeated."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = x.shape[axis]
        rows = []
        for i in range(new):
            at = min(max((i + 0.5) * old / new - 0.5, 0), old - 1)
            low = int(at)
            high = min(low + 1, old - 1)
            rows.append(x.take(low, axis) * (1 - (at - low)) + x.take(high, axis) * (at - low))
        x = np.stack(rows, axis)
    return x


def pool_to(x, size):
    """Adaptive average pooling: cell i of n averages the rows i H / n to (i+1) H / n, outwards."""
    (height, width), (rows, columns) = x.shape[1:3], size
    out = np.zeros((len(x), rows, columns, x.shape[3]))
    for i in range(rows):
        for j in range(columns):
            top, bottom = i * height // rows, math.ceil((i + 1) * height / rows)
            left, right = j * width // columns, math.ceil((j + 1) * width / columns)
            out[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
    return out


def fit(x, grid):
    """Pool sides that are too long, then enlarge those too short."""
    if grid is None:
        return x
    x = pool_to(x, [min(side, wanted) for side, wanted in zip(x.shape[1:3], grid, strict=True)])
    return resize(x, grid)


def attention(x, p, heads, grid, residual=True):
    """T + proj(softmax(q k^T / sqrt(d) + E_pos) v), q, k and v of the normalised T."""
    batch, length, channels = x.shape
    d = channels // heads
    qkv = linear(layer_norm(x, p, 'norm') if 'norm.weight' in p else x, p, 'qkv')
    q, k, v = qkv[..., :channels], qkv[..., channels : 2 * channels], qkv[..., 2 * channels :]
    table = p.get('relative_position_bias_table')
    out = np.zeros_like(x)
    for b in range(batch):
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            scores = q[b, :, part] @ k[b, :, part].T / math.sqrt(d)
            if table is not None:
                for i in range(length):
                    for j in range(length):
                        dy, dx = i // grid[1] - j // grid[1], i % grid[1] - j % grid[1]
                        row = (dy + grid[0] - 1) * (2 * grid[1] - 1) + dx + grid[1] - 1
                        scores[i, j] += table[row, h]
            out[b, :, part] = softmax(scores) @ v[b, :, part]
    if 'proj.weight' in p:
        out = linear(out, p, 'proj')
    return x + out if residual else out


def squeeze_excite(x, p):
    """I * sigmoid(W_2 ReLU(W_1 z)), z the mean over places."""
    z = x.mean(1)
    s = linear(np.maximum(linear(z, p, 'fc1'), 0), p, 'fc2')
    return x * (1 / (1 + np.exp(-s)))[:, None]


def normalise(x, p, training):
    """Over the batch and the nodes in training, with the kept statistics else; or over channels."""
    if 'norm.weight' not in p:
        return x
    if 'norm.running_mean' not in p:
        return layer_norm(x, p, 'norm')
    mean, variance = p['norm.running_mean'], p['norm.running_var']
    if training:
        mean = x.mean((0, 1))
        variance = ((x - mean) ** 2).mean((0, 1))
    return (x - mean) / np.sqrt(variance + BN_EPS) * p['norm.weight'] + p['norm.bias']


def matrices(x, p, adjacency):
    """What mixes the nodes of each picture: ``M[b, i, j]``, share of source j in node i."""
    batch, nodes, _ = x.shape
    if adjacency == 'identity':
        return np.stack([np.eye(nodes)] * batch)
    if adjacency == 'similarity':
        a, b = linear(x, p, 'query'), linear(x, p, 'key')
        return softmax(a @ b.transpose(0, 2, 1) / math.sqrt(a.shape[-1]))
    q, k = linear(x, p, 'query')[..., 0], linear(x, p, 'key')[..., 0]
    out = np.zeros((batch, nodes, nodes))
    for b in range(batch):
        for i in range(nodes):
            for j in range(nodes):
                a_ij = p['adjacency'][i, j] + p['alpha'][0] * math.tanh(q[b, i] - k[b, j])
                out[b, j, i] = a_ij  # Y = A^T Z
    return out


def graph_conv(x, p, adjacency, act='ReLU', training=False):
    """act(norm(A^T (X W_g + b_g)))."""
    y = matrices(x, p, adjacency) @ linear(x, p, 'linear')
    y = normalise(y, p, training)
    return np.maximum(y, 0) if act == 'ReLU' else y


def super_nodes(y, p, pool):
    """P = W_p Y, by learned or input-dependent weights, or the mean: ``(N, K, C)``."""
    if pool == 'avg':
        return y.mean(1, keepdims=True)
    if pool == 'soft':
        shares = softmax(linear(y, p, 'pool').transpose(0, 2, 1))
        return shares @ y
    return np.stack([linear(y[b].T, p, 'pool').T for b in range(len(y))])


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def graph_fusion(
    x,
    p,
    adjacency,
    act='ReLU',
    order='gcn_pool',
    pool='linear',
    pool_act=None,
    merge='mean',
    training=False,
):
    """Nodes ``(N, L, C)`` -> one vector ``(N, C)``."""

    def convolve(nodes):
        if adjacency is None:
            return nodes
        return graph_conv(nodes, under(p, 'conv.'), adjacency, act, training)

    def gather(nodes):
        pooled = super_nodes(nodes, p, pool)
        return gelu(pooled) if pool_act == 'GELU' else pooled

    x = gather(convolve(x)) if order == 'gcn_pool' else convolve(gather(x))
    if merge == 'mean':
        return x.mean(1)
    return np.stack([linear(x[b].T, p, 'merge')[:, 0] for b in range(len(x))])


def granularities(maps, p, kernels, grid, heads=8, residual=True, attend=True, excite=True):
    """Steps 1 to 3: what the maps are before they are joined, ``(N, g_h, g_w, C)`` each."""
    out = []
    for i, (x, kernel) in enumerate(zip(maps, kernels, strict=True)):
        x = fit(unify(nhwc(x), under(p, f'unify.{i}.'), kernel), grid)
        sides = x.shape
        x = x.reshape(len(x), -1, x.shape[3])
        if attend:
            x = attention(x, under(p, f'attention.{i}.'), heads, sides[1:3], residual)
        if excite:
            x = squeeze_excite(x, under(p, f'se.{i}.'))
        out.append(x.reshape(sides))
    return out


def join(maps, fuse):
    """Step 4: all places of all maps are nodes, or each place is one with all maps' channels."""
    tokens = [x.reshape(len(x), -1, x.shape[3]) for x in maps]
    return np.concatenate(tokens, 1 if fuse == 'node' else 2)


def split(nodes, maps, fuse):
    """Undo :func:`join`."""
    out, start = [], 0
    for x in maps:
        n = x.shape[1] * x.shape[2] if fuse == 'node' else x.shape[3]
        part = nodes[:, start : start + n] if fuse == 'node' else nodes[..., start : start + n]
        out.append(part.reshape(x.shape))
        start += n
    return out


def conv1x1(x, p, name):
    return x @ p[f'{name}.weight'][:, :, 0, 0].T + p[f'{name}.bias']


def maps_out(inputs, nodes, p, num_outs=None):
    """Lateral projection plus what the graph made of the map, at the inputs' own sizes."""
    out = []
    for i, (x, y) in enumerate(zip(inputs, nodes, strict=True)):
        x = nhwc(x)
        out.append(conv1x1(x, p, f'lateral.{i}') + conv1x1(resize(y, x.shape[1:3]), p, f'back.{i}'))
    while len(out) < (num_outs or 0):
        out.append(out[-1][:, ::2, ::2])
    return out


def pim(hs, p, training=False):
    """Forward pass of PIM's ``GCNCombiner`` behind its projections: ``(N, C, S)`` -> logits.

    As that code computes it: 1x1 convolutions to C / 4 channels whose mean is taken, all nodes in
    the last axis.
    """

    def conv(x, name):
        return (
            np.einsum('oi,bis->bos', p[f'{name}.weight'][:, :, 0], x) + p[f'{name}.bias'][:, None]
        )

    hs = linear(hs, p, 'param_pool0')
    q, k = conv(hs, 'conv_q1').mean(1), conv(hs, 'conv_k1').mean(1)
    a = p['adj1'] + np.tanh(q[:, :, None] - k[:, None, :]) * p['alpha1']
    hs = conv(hs, 'conv1') @ a
    mean, variance = p['batch_norm1.running_mean'], p['batch_norm1.running_var']
    if training:
        mean, variance = hs.mean((0, 2)), hs.var((0, 2))
    scale = p['batch_norm1.weight'] / np.sqrt(variance + BN_EPS)
    hs = (hs - mean[:, None]) * scale[:, None] + p['batch_norm1.bias'][:, None]
    return linear(linear(hs, p, 'param_pool1')[..., 0], p, 'classifier')
