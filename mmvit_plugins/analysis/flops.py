"""Parameters and FLOPs of a model, by the rule that papers on segmentation use.

The rule is fvcore's (github.com/facebookresearch/fvcore, ``fvcore/nn/flop_count.py``; mmengine
carries a copy): one multiply-add is one. It counts convolutions, linear layers, matrix products and
einsum; batch norm in eval mode (2 per element); layer, group and instance norm (5 per element, 4 if
not affine); adaptive average pooling (1 per input element); bilinear and nearest resizing (4 and 1
per output element). It leaves out activations, softmax, sums, products, reductions, sorting, other
pooling.

Differs from mmengine's: scaled_dot_product_attention is counted, as the two matrix products that it
is; matrix products count the batch of their result and einsum is exact; bicubic resizing counts 16
per output element, and bilinear resizing with antialiasing the taps of its two passes, height after
width; an operator that neither side of the rule names is reported instead of taken for nothing.

A detector counts without decoding and NMS, and its second stage on as many regions as the config
lets through; RoIAlign, which only samples maps, is left out.

A classifier of two stages counts as what it costs where it looks twice: backbone, neck and head
twice, the localizer once.
"""

from collections import Counter
from collections.abc import Sequence
from math import ceil, prod
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.analysis import FlopAnalyzer
from mmengine.analysis.jit_handles import (
    conv_flop_count,
    einsum_flop_jit,
    elementwise_flop_counter,
    get_shape,
)
from torch import Tensor, nn

from .build import (
    build_model,
    count_regions,
    input_shape,
    is_detector,
    is_two_stage,
    load_model_config,
    network,
)
from .table import markdown_table

# What the rule leaves out although it computes, then what only moves data or makes constants. Names
# that mmengine ignores by itself (reshape, relu, ...) are not repeated.
_LEFT_OUT = """
    abs add addcmul all amax amin argmax argmin argsort avg_pool2d clamp_max clamp_min cos cumsum
    div elu erf exp gelu hardsigmoid hardswish hardtanh leaky_relu le lerp linalg_vector_norm
    log log1p log2 log_softmax logical_and logical_not logical_or logsumexp lt masked_fill
    max_pool2d maximum mean min minimum mish mul ne neg norm outer pow prelu prod reciprocal relu6
    round rsqrt rsub sigmoid sign silu sin softmax softplus sort sqrt square std sub sum tanh
    threshold topk var where

    adjoint alias broadcast_tensors clone empty_like expand_as feature_dropout fill flip im2col
    index_copy index_select lift_fresh linspace mH mT movedim numpy_T ones_like pad pixel_shuffle
    pixel_unshuffle rand repeat repeat_interleave reshape_as scalar_tensor tril triu unflatten
    unfold view_as zero
"""
LEFT_OUT = frozenset(
    [*(f'aten::{name}' for name in _LEFT_OUT.split()), 'prim::PythonOp.RoIAlignFunction']
)

ATTENTION = (
    'aten::scaled_dot_product_attention',
    'aten::_scaled_dot_product_attention_math',
    'aten::_scaled_dot_product_cudnn_attention',
    'aten::_scaled_dot_product_efficient_attention',
    'aten::_scaled_dot_product_flash_attention',
    'aten::_scaled_dot_product_flash_attention_for_cpu',
    'aten::_scaled_dot_product_fused_attention_overrideable',
)


def _attention(inputs: Sequence, outputs: Sequence) -> int:
    """Count q k^T and its product with v, in full: written out, a mask saves no multiplication.

    The output (..., L, Ev) carries the heads of q, so grouped queries count as many heads as q has.
    """
    q, k = get_shape(inputs[0]), get_shape(inputs[1])
    out = get_shape(outputs[0])
    return prod(out[:-1]) * k[-2] * (q[-1] + out[-1])


def _product(left: int):
    """Count a matrix product, input ``left`` being its left operand: result size x inner length."""

    def count(inputs: Sequence, outputs: Sequence) -> int:
        return prod(get_shape(outputs[0])) * get_shape(inputs[left])[-1]

    return count


def _batch_reduced_product(inputs: Sequence, outputs: Sequence) -> int:
    """Count addbmm, whose result is summed over the batch."""
    return prod(get_shape(inputs[1])) * get_shape(inputs[2])[-1]


def _einsum(inputs: Sequence, outputs: Sequence) -> int:
    """Count two operands exactly: the product of the lengths of all indices that occur."""
    terms = inputs[0].toIValue().replace(' ', '').partition('->')[0].split(',')
    if len(terms) != 2 or any('.' in term for term in terms):
        return int(einsum_flop_jit(list(inputs), list(outputs)))
    length: dict[str, int] = {}
    for term, value in zip(terms, inputs[1].node().inputs(), strict=True):
        for index, size in zip(term, get_shape(value), strict=True):
            length[index] = max(length.get(index, 1), size)
    return prod(length.values())


def _conv_same(inputs: Sequence, outputs: Sequence) -> Counter:
    """Count a convolution whose padding is given as a word."""
    return Counter(conv=conv_flop_count(*map(get_shape, (inputs[0], inputs[1], outputs[0]))))


def _antialiased_resize(inputs: Sequence, outputs: Sequence) -> int:
    """Count the taps, two for each input pixel that is one step of the output wide."""
    (*planes, height, width), (*_, rows, columns) = get_shape(inputs[0]), get_shape(outputs[0])
    taps = [2 * ceil(max(a / b, 1)) for a, b in ((width, columns), (height, rows))]
    return prod(planes) * columns * (height * taps[0] + rows * taps[1])


HANDLERS = {
    **dict.fromkeys(ATTENTION, _attention),
    **dict.fromkeys(
        ('aten::matmul', 'aten::mm', 'aten::bmm', 'aten::mv', 'aten::dot'), _product(0)
    ),
    **dict.fromkeys(('aten::addmm', 'aten::baddbmm', 'aten::addmv'), _product(1)),
    'aten::addbmm': _batch_reduced_product,
    'aten::einsum': _einsum,
    'aten::_convolution_mode': _conv_same,
    'aten::upsample_bicubic2d': elementwise_flop_counter(0, 16),
    'aten::_upsample_bilinear2d_aa': _antialiased_resize,
}


class _Resize(nn.Module):
    """Resize of logits to a size, a module so that its FLOPs have a name."""

    def __init__(self, align_corners: bool):
        super().__init__()
        self.align_corners = align_corners

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return F.interpolate(x, size, mode='bilinear', align_corners=self.align_corners)


class _Whole(nn.Module):
    """A network and, for a segmentor, the resize of its logits to the size of the input."""

    def __init__(self, model: nn.Module, mode: str):
        super().__init__()
        self.model = model
        self.mode = mode
        self.resize = None
        if hasattr(model, 'decode_head'):
            self.resize = _Resize(bool(getattr(model, 'align_corners', False)))

    def forward(self, x: Tensor) -> Tensor:
        try:
            out = network(self.model, self.mode)(x)
        except NotImplementedError as error:
            raise ValueError(
                f"{type(self.model).__name__} has no mode='tensor'; count its backbone only"
            ) from error
        if self.resize is None:
            return out
        if not isinstance(out, Tensor):
            raise ValueError(
                f'{type(self.model.decode_head).__name__} returns {type(out).__name__} and no map '
                'of logits to resize to the input size; count the backbone only'
            )
        return self.resize(out, x.shape[2:])


def count_flops(model: nn.Module, shape: Sequence[int], mode: str = 'tensor') -> dict:
    """Count one forward pass of one image, part by part, without heads that only training uses.

    Args:
        model: A host's model in eval mode, or a plain module.
        shape: Shape (C, H, W) of the image.
        mode: ``'tensor'``, or ``'train'`` for what is trained: one pass also with two stages.

    Returns:
        ``flops``; ``parameters`` and of these ``trainable``; ``parts``, dicts with ``name``,
        ``parameters`` and ``flops``; ``operators``, FLOPs by operator; ``left_out``, calls by
        operator that the rule leaves out; ``unknown``, calls by operator that the rule does not
        know and that may be real work; ``training_only``, the parameters of auxiliary heads;
        ``two_stages``, whether a second pass and a localizer are counted; ``detector``, whether it
        is one, and ``regions`` that the second stage of a detector looks at.

    Raises:
        ValueError: The network cannot be run without its post-processing.
    """
    device = next(model.parameters()).device
    whole = _Whole(model, mode)
    fast_path = torch.backends.mha.get_fastpath_enabled()
    # The fused path of nn.MultiheadAttention is one operator that nothing can look into.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            analyzer = FlopAnalyzer(whole, (torch.zeros(1, *shape, device=device),))
            analyzer.set_op_handle(**HANDLERS)
            analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            flops = analyzer.total()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)

    heads = (
        getattr(model, 'auxiliary_head', None),
        getattr(getattr(model, 'head', None), 'auxiliary', None),
    )
    auxiliary = nn.ModuleList(head for head in heads if isinstance(head, nn.Module))
    training_only = _parameters(auxiliary)
    parts = [
        dict(
            name=name,
            parameters=_parameters(getattr(model, name)),
            flops=int(analyzer.total(f'model.{name}')),
        )
        for name in ('backbone', 'neck', 'localizer')
        if isinstance(getattr(model, name, None), nn.Module)
    ]
    total = _parameters(model) - training_only
    # Hosts call heads past nn.Module.__call__, which hides their operators: they get the rest, and
    # so what two stages do between their passes.
    resize = 0 if whole.resize is None else int(analyzer.total('resize'))
    parts.append(
        dict(
            name='head' if parts else type(model).__name__,
            parameters=total - sum(part['parameters'] for part in parts),
            flops=int(flops) - resize - sum(part['flops'] for part in parts),
        )
    )
    if whole.resize is not None:
        parts.append(dict(name='resize', parameters=0, flops=resize))

    uncounted = analyzer.unsupported_ops()
    known = {kind for kind in uncounted if kind in LEFT_OUT or kind.rstrip('_') in LEFT_OUT}
    return dict(
        flops=int(flops),
        parameters=total,
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad)
        - _parameters(auxiliary, trainable=True),
        parts=parts,
        operators={name: int(n) for name, n in analyzer.by_operator().most_common()},
        left_out={kind: n for kind, n in uncounted.most_common() if kind in known},
        unknown={kind: n for kind, n in uncounted.most_common() if kind not in known},
        training_only=training_only,
        two_stages=is_two_stage(model) and mode == 'tensor',
        detector=is_detector(model),
        regions=count_regions(model),
    )


def _parameters(module: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def count_config(
    path: str | Path, shape: Sequence[int] | None = None, backbone_only: bool = False
) -> dict:
    """Count the model of a config file, or a peer, at a shape as :func:`input_shape` finds it.

    Returns:
        As :func:`count_flops`, and ``config``, ``shape`` (C, H, W) and ``shape_from``.
    """
    cfg = load_model_config(path)
    shape, source = input_shape(cfg, shape)
    counted = count_flops(build_model(cfg, backbone_only, shape[1:]), shape)
    return dict(config=str(path), shape=list(shape), shape_from=source, **counted)


def format_flops(result: dict) -> str:
    """Write what :func:`count_config` returns as text with a table per part."""
    rows = [
        (part['name'], f'{part["parameters"]:,}', f'{part["flops"] / 1e9:.3f}')
        for part in (*result['parts'], dict(result, name='total'))
    ]
    channels, height, width = result['shape']
    lines = [
        f'{result["config"]}: {channels}x{height}x{width} ({result["shape_from"]})',
        '',
        markdown_table(('part', 'parameters', 'GFLOPs'), rows),
        '',
        f'Trainable parameters: {result["trainable"]:,}. One multiply-add is one FLOP.',
        'By operator, GFLOPs: '
        + ', '.join(f'{name} {n / 1e9:.3f}' for name, n in result['operators'].items()),
        'Left out by the rule (calls): ' + (_calls(result['left_out']) or 'nothing'),
    ]
    if result['training_only']:
        lines.append(
            f'Auxiliary heads, used in training only and not included: '
            f'{result["training_only"]:,} parameters.'
        )
    if result['two_stages']:
        lines.append(
            'Two stages: backbone, neck and head run twice, the localizer once. Where the box is '
            'the whole picture, the second run is left out.'
        )
    if result['detector']:
        lines.append('Detector: decoding of boxes and NMS are not included.')
    if result['regions']:
        lines.append(
            f'Second stage: on {result["regions"]} regions, as many as test_cfg.rpn.max_per_img '
            'lets through; masks, where there are any, of the first 100, of a cascade of all, in '
            'each stage.'
        )
    if result['unknown']:
        lines.append(f'WARNING: not counted, may be real work (calls): {_calls(result["unknown"])}')
    return '\n'.join(lines)


def _calls(calls: dict) -> str:
    return ', '.join(f'{kind.removeprefix("aten::")} {n}' for kind, n in calls.items())
