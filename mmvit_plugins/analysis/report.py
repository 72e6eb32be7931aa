"""What the benchmark measured, as a table and as pictures."""

import io
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..writing import write_bytes
from .table import markdown_table

STYLES = {'tensor': '-', 'predict': ':', 'train': '--'}
PLOTS = tuple(FigureCanvasBase.get_supported_filetypes())  # endings
PANELS = {
    'GFLOPs of one image, forward': lambda line: line['flops'] / 1e9,
    'ms for a batch': lambda line: line['latency_ms']['median'],
    'peak memory, MiB': lambda line: line['peak_memory_bytes'] / 2**20,
}


def format_benchmark(result: dict) -> str:
    """Write what ``compare`` returns as text with a Markdown table."""
    machine = result['machine']

    def spread(values: dict, digits: int) -> str:
        return '{median:.{n}f} ({q1:.{n}f}-{q3:.{n}f})'.format(n=digits, **values)

    counted = all(r['flops'] is not None for r in result['results'])
    rows = [
        (
            Path(r['config']).stem,
            r['variant'],
            r['mode'],
            '{}x{}'.format(*r['shape']),
            f'{r["parameters"] / 1e6:.2f}',
            *([f'{r["flops"] / 1e9:.2f}'] if counted else []),
            spread(r['latency_ms'], 1),
            f'{r["images_per_second"]:.1f}',
            f'{r["peak_memory_bytes"] / 2**20:.0f}',
            spread(r['ratio'], 3),
        )
        for r in result['results']
    ]
    where = machine['gpu'] or f'{machine["cpu"]}, {result["threads"]} threads'
    load = ' '.join(f'{value:.1f}' for value in machine['load_average'])
    header = (
        *('config', 'variant', 'mode', 'input', 'params M', *(['GFLOPs'] if counted else [])),
        *('ms', 'images/s', 'MiB', 'relative time'),
    )
    settings = (
        f'{where}; torch {machine["torch"]}; batch {result["batch_size"]}; '
        f'{result["repeats"]} rounds of {result["inner"]}; load average at the start {load}; '
        f'{result["date"]}'
    )
    notes = (
        'ms and relative time: median (quartiles) over the rounds; relative time: to the first '
        'line of the same mode and input, within each round. MiB: weights and the peak of what '
        'torch allocates in one run; on a CPU without the scratch memory of the libraries under '
        'torch. Mode tensor: the network without the resize of the logits to the input size; '
        'predict: with post-processing; train: as tensor, forward and backward, in training mode; '
        'none has the data preprocessor. A classifier of two stages is timed in modes tensor and '
        'predict with its localizer and with a second pass for every picture, in mode train with '
        'one pass. A detector has no decoding of boxes and no NMS in modes tensor and train, and a '
        'second stage on test_cfg.rpn.max_per_img regions; mode predict has them, on what weights '
        'at random find, which may be no box. bfloat16, float16: autocast; gemm: the matrix '
        'products of the network by themselves.'
    )
    if counted:
        notes = f'{notes} GFLOPs: one image, forward only; one multiply-add is one.'
    if result['backbone_only']:
        notes = f'Backbones only. {notes}'
    return f'{settings}\n\n{markdown_table(header, rows)}\n\n{notes}'


def plot_growth(result: dict, path: str | Path) -> None:
    """Draw what ``compare`` returns against the number of pixels, on logarithmic axes.

    Each config and variant has a colour, each mode a kind of line; grey is what grows as the pixels
    do, from the first point on.

    Args:
        result: Measured with ``flops=True`` and at two sizes or more.
        path: Picture to write; its suffix says the format.

    Raises:
        ValueError: FLOPs or sizes are missing.
    """
    if len(result['shapes']) < 2 or any(line['flops'] is None for line in result['results']):
        raise ValueError('growth needs FLOPs and at least two sizes; measure with both')
    curves: dict[tuple[str, str, str], list[dict]] = {}
    for line in sorted(result['results'], key=_pixels):
        curves.setdefault((line['config'], line['variant'], line['mode']), []).append(line)
    models = list(dict.fromkeys(key[:2] for key in curves))
    sizes = {height * width: f'{height}x{width}' for height, width in result['shapes']}

    figure = Figure(figsize=(11, 4), layout='constrained')
    for axes, (title, value) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for (config, variant, mode), lines in curves.items():
            axes.plot(
                list(map(_pixels, lines)),
                list(map(value, lines)),
                STYLES[mode],
                marker='o',
                markersize=3,
                color=f'C{models.index((config, variant))}',
                label=f'{Path(config).stem} {variant} {mode}',
            )
        start = axes.lines[0].get_ydata()[0]
        ends = min(sizes), max(sizes)
        axes.plot(
            ends, [start, start * ends[1] / ends[0]], color='0.7', zorder=0, label='as the pixels'
        )
        axes.set(xscale='log', yscale='log', title=title)
        axes.set_xticks(list(sizes), list(sizes.values()), rotation=45, ha='right')
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', ncols=4)
    data = io.BytesIO()
    figure.savefig(data, dpi=100, format=Path(path).suffix[1:].lower())
    write_bytes(data.getvalue(), path)


def _pixels(line: dict) -> int:
    return line['shape'][0] * line['shape'][1]
