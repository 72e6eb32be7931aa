"""Pictures of how FLOPs, time and memory grow with the input."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

STYLES = {'tensor': '-', 'predict': ':', 'train': '--'}
PANELS = {
    'GFLOPs of one image, forward': lambda line: line['flops'] / 1e9,
    'ms for a batch': lambda line: line['latency_ms']['median'],
    'peak memory, MiB': lambda line: line['peak_memory_bytes'] / 2**20,
}


def plot_growth(result: dict, path: str | Path) -> None:
    """Draw what :func:`compare` returns against the number of pixels, on logarithmic axes.

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
    figure.savefig(path, dpi=100)


def _pixels(line: dict) -> int:
    return line['shape'][0] * line['shape'][1]
