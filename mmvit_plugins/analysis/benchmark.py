"""Time and memory of networks against each other, on synthetic input.

All candidates live in one process and take turns: every round runs each of them once, in an order
that is drawn anew, so that a busy machine, its temperature or its clock hit all alike. Compared are
the rounds: the ratio of a candidate to the first one of its mode and size is taken within each
round, and the median of these ratios is reported.
"""

import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_leaves

from ..environment import find_device
from .build import build_model, input_shape, is_two_stage, load_model_config, network
from .flops import count_flops
from .products import MatrixProducts

DTYPES = ('float32', 'bfloat16', 'float16')
SWITCHES = ('deploy', 'channels_last', 'compile', 'gemm')
MODES = ('tensor', 'predict', 'train')


@dataclass(frozen=True)
class Variant:
    """How a model is run.

    Args:
        deploy: Call ``switch_to_deploy()`` of the model's modules.
        channels_last: Lay out weights and input in channels_last.
        compile: Compile with ``torch.compile`` and its default back end.
        gemm: Run the matrix products alone, see :class:`MatrixProducts`.
        dtype: ``'float32'``, or what autocast uses, as in ``--amp`` training; weights stay float32.
    """

    deploy: bool = False
    channels_last: bool = False
    compile: bool = False
    gemm: bool = False
    dtype: str = 'float32'

    @classmethod
    def parse(cls, text: str, base: 'Variant | None' = None) -> 'Variant':
        """Read words joined by ``+``, such as ``deploy+channels_last``, on top of another variant.

        Raises:
            ValueError: A word is none of ``eager``, the switches and the dtypes.
        """
        variant = base or cls()
        for word in text.split('+'):
            if word in SWITCHES:
                variant = replace(variant, **{word: True})
            elif word in DTYPES:
                variant = replace(variant, dtype=word)
            elif word != 'eager':
                raise ValueError(
                    f'variant {text!r}: {word!r} is unknown; join any of '
                    f'{", ".join(("eager", *SWITCHES, *DTYPES))} with "+"'
                )
        return variant

    def __str__(self) -> str:
        words = [word for word in SWITCHES if getattr(self, word)]
        words += [self.dtype] if self.dtype != 'float32' else []
        return '+'.join(words) or 'eager'


@dataclass(frozen=True)
class Candidate:
    """One line of the benchmark: a function without arguments that runs one batch."""

    config: str
    variant: str
    mode: str
    shape: tuple[int, int]
    weights: int  # bytes of parameters and buffers, or of all that products alone need
    parameters: int
    flops: int | None  # of one image's forward pass
    run: Callable[[], object]


def _deploy(module: nn.Module) -> bool:
    """Switch every outermost module that has a deploy form to it; tell whether there was one."""
    if hasattr(module, 'switch_to_deploy'):
        module.switch_to_deploy()
        return True
    return any([_deploy(child) for child in module.children()])


def _runner(model: nn.Module, mode: str, x: Tensor, variant: Variant) -> Callable[[], object]:
    """Bind a network to its input: forward without gradients, as the hosts' loops, or both passes.

    Mode ``'train'`` ends in the mean absolute value of the outputs, whose gradient is not lost in a
    last layer norm as that of a mean or of a mean square is, and it leaves no gradients behind.
    """
    call = network(model, mode)
    if is_two_stage(model):
        # else chance decides, on weights at random, what is looked at twice; a slope, since the
        # response of untrained layers may be flat
        model.box = model.box | dict(min_area=0.0, min_side=1.0, max_area=1.0)
        model.localizer.register_forward_hook(
            lambda _, __, out: out + torch.linspace(0, 1, out.shape[-1], device=out.device)
        )
    if variant.compile:
        call = torch.compile(call, dynamic=False)
    autocast = variant.dtype != 'float32'
    dtype = getattr(torch, variant.dtype) if autocast else None

    def forward() -> object:
        with torch.autocast(x.device.type, dtype=dtype, enabled=autocast):
            return call(x)

    def train() -> None:
        sum(output.abs().mean() for output in tree_leaves(forward())).backward()
        model.zero_grad()

    return train if mode == 'train' else torch.no_grad()(forward)


def _candidates(
    config: str,
    cfg: Config,
    shapes: Sequence[Sequence[int]],
    batch_size: int,
    variants: Sequence[Variant],
    modes: Sequence[str],
    backbone_only: bool,
    flops: bool,
    device: torch.device,
    seed: int,
) -> Iterator[Candidate]:
    done = set()
    # one model for training and one for the rest, so that nothing is switched between runs
    for variant, training in product(variants, sorted({mode == 'train' for mode in modes})):
        torch.manual_seed(seed)
        model = build_model(cfg, backbone_only, shapes[0]).to(device)
        if variant.deploy and not _deploy(model):
            variant = replace(variant, deploy=False)  # it has one form only
        if (variant, training) in done:
            continue
        done.add((variant, training))
        layout = torch.channels_last if variant.channels_last else torch.contiguous_format
        model = model.to(memory_format=layout)
        tensors = [*model.parameters(), *model.buffers()]
        chws = [input_shape(cfg, shape)[0] for shape in shapes]
        counted_mode = 'train' if training else 'tensor'
        counts = [count_flops(model, chw, counted_mode) if flops else None for chw in chws]
        model.train(training)
        for chw, counted in zip(chws, counts, strict=True):
            x = torch.randn(batch_size, *chw).to(device, memory_format=layout)
            for mode in modes:
                if (mode == 'train') != training:
                    continue
                run = _runner(model, mode, x, variant)
                weights = sum(t.numel() * t.element_size() for t in tensors)
                total = counted and _without_resize(counted, mode)
                if variant.gemm:
                    run = MatrixProducts(run, tensors)
                    weights, total = run.nbytes, counted and run.flops // batch_size
                yield Candidate(
                    config=config,
                    variant=str(variant),
                    mode=mode,
                    shape=chw[1:],
                    weights=weights,
                    parameters=sum(p.numel() for p in model.parameters()),
                    flops=total,
                    run=run,
                )


def _without_resize(counted: dict, mode: str) -> int:
    """Take the FLOPs of what a mode runs: the logits are resized in mode ``'predict'`` only."""
    parts = counted['parts']
    return sum(part['flops'] for part in parts if mode == 'predict' or part['name'] != 'resize')


def _seconds(run: Callable[[], object], inner: int, device: torch.device) -> float:
    """Time ``inner`` runs in a row; return seconds per run."""
    if device.type == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        for _ in range(inner):
            run()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / 1e3 / inner
    start = time.perf_counter()
    for _ in range(inner):
        run()
    return (time.perf_counter() - start) / inner


def _peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """Measure how far one run's tensors reach above what is allocated before it."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as trace:
        output = run()  # kept until the trace ends, as a caller would
    del output
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'trace.json')
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text())['traceEvents']
    changes = sorted((e['ts'], e['args']['Bytes']) for e in events if e['name'] == '[memory]')
    return int(max(np.cumsum([0, *(size for _, size in changes)])))


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quartiles(values: Sequence[float], scale: float = 1) -> dict:
    q1, median, q3 = np.percentile(np.asarray(values) * scale, (25, 50, 75)).tolist()
    return dict(median=median, q1=q1, q3=q3)


def _machine(device: torch.device) -> dict:
    """Describe what the numbers were measured on, its load included."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return dict(
        cpu=names[0] if names else platform.processor() or platform.machine(),
        cpu_count=os.cpu_count(),
        gpu=torch.cuda.get_device_name(device) if device.type == 'cuda' else None,
        load_average=list(os.getloadavg()),
        platform=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda if device.type == 'cuda' else None,
    )


def compare(
    configs: Sequence[str],
    shapes: Sequence[Sequence[int] | int] = (),
    batch_size: int = 1,
    variants: Sequence[Variant | str] = ('eager',),
    modes: Sequence[str] = ('tensor',),
    backbone_only: bool = False,
    flops: bool = False,
    device: str = 'cpu',
    threads: int | None = None,
    repeats: int = 20,
    warmup: int = 3,
    inner: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> dict:
    """Time every config in every variant and mode and at every size, in turns.

    Args:
        configs: Files of segmentors, classifiers or backbones, or names of peers, see
            :func:`build_peer`; others are compared to the first.
        shapes: Height and width, or one number for both, of each input; by default what the first
            config is made for.
        batch_size: Images in a batch.
        variants: How to run each config; a config without a deploy form is not repeated for it.
        modes: ``'tensor'`` and/or ``'predict'``, see :func:`network`, and ``'train'``, the first
            one forward and backward, in training mode and without the optimizer.
        backbone_only: Time the backbones alone.
        flops: Count the FLOPs as well.
        device: ``'cpu'`` or ``'cuda'`` with or without a number.
        threads: CPU threads within operators; by default what torch chooses.
        repeats: Rounds.
        warmup: Runs of each candidate before the rounds; compilation happens here.
        inner: Runs in a row of which one measurement is the mean.
        seed: Seed of weights, input and order.
        progress: Show a bar of the rounds on standard error.

    Returns:
        Settings, ``machine``, ``order`` (indices into ``results``, per round), ``results``.
        Each result has ``config``, ``variant``, ``mode``, ``shape``, ``parameters``, ``flops`` of
        one image's forward pass (or None), ``seconds`` per batch and round, ``latency_ms`` and
        ``ratio`` to the first candidate of the same mode and shape (median and quartiles),
        ``images_per_second`` at the median, and ``peak_memory_bytes``: weights plus the peak of
        what torch allocates in a separate run (in mode ``'train'`` also what the backward pass
        needs, and the gradients), on the CPU without the scratch memory of the libraries under
        torch.

    Raises:
        UserError: A config or a peer is missing.
        ValueError: An argument is not usable.
    """
    variants = [v if isinstance(v, Variant) else Variant.parse(v) for v in variants]
    for name, value in dict(
        batch_size=batch_size, repeats=repeats, warmup=warmup, inner=inner, threads=threads
    ).items():
        if value is not None and value < 1:
            raise ValueError(f'{name}={value} is not allowed; it must be at least 1')
    if not configs:
        raise ValueError('there is nothing to measure; name at least one config')
    if unknown := set(modes) - set(MODES):
        raise ValueError(f'modes={sorted(unknown)} is unknown; choose from {MODES}')
    if 'train' in modes and any(variant.deploy for variant in variants):
        raise ValueError("a deploy form cannot be trained; leave out 'deploy' or mode='train'")
    if any(v.gemm and (v.compile or 'train' in modes) for v in variants):
        raise ValueError(
            "'gemm' runs the matrix products of a forward pass, one after the other; leave out "
            "'compile' and mode='train'"
        )
    if device.partition(':')[0] not in ('cpu', 'cuda'):
        raise ValueError(f"device={device!r} is not supported; choose 'cpu' or 'cuda'")
    torch_device = find_device(device)

    cfgs = {str(config): load_model_config(config) for config in configs}
    first = next(iter(cfgs.values()))
    asked: Sequence = shapes or [None]
    shapes = list(dict.fromkeys(input_shape(first, shape)[0][1:] for shape in asked))
    with _threads(threads):
        settings = (batch_size, variants, modes, backbone_only, flops, torch_device, seed)
        started, machine = datetime.now().astimezone(), _machine(torch_device)
        candidates = [
            candidate
            for config, cfg in cfgs.items()
            # a peer may be made for one size only
            for sizes in ([[shape] for shape in shapes] if 'peer' in cfg.model else [shapes])
            for candidate in _candidates(config, cfg, sizes, *settings)
        ]
        for candidate in candidates:
            for _ in range(warmup):
                candidate.run()
        seconds: list[list[float]] = [[] for _ in candidates]
        order, shuffler = [], random.Random(seed)
        rounds = range(repeats)
        for _ in track_iter_progress(rounds, file=sys.stderr) if progress else rounds:
            order.append(shuffler.sample(range(len(candidates)), len(candidates)))
            for i in order[-1]:
                seconds[i].append(_seconds(candidates[i].run, inner, torch_device))
        peaks = [_peak_bytes(candidate.run, torch_device) for candidate in candidates]
        used_threads = torch.get_num_threads()

    peers = [(c.mode, c.shape) for c in candidates]
    results = [
        dict(
            config=c.config,
            variant=c.variant,
            mode=c.mode,
            shape=list(c.shape),
            parameters=c.parameters,
            flops=c.flops,
            latency_ms=_quartiles(taken, 1e3),
            images_per_second=batch_size / float(np.median(taken)),
            ratio=_quartiles(np.divide(taken, seconds[peers.index((c.mode, c.shape))])),
            peak_memory_bytes=c.weights + peak,
            seconds=taken,
        )
        for c, taken, peak in zip(candidates, seconds, peaks, strict=True)
    ]
    return dict(
        date=started.isoformat(timespec='seconds'),
        machine=machine,
        device=device,
        threads=used_threads,
        shapes=[list(shape) for shape in shapes],
        batch_size=batch_size,
        backbone_only=backbone_only,
        repeats=repeats,
        warmup=warmup,
        inner=inner,
        seed=seed,
        order=order,
        results=results,
    )
