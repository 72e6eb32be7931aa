"""Pictures of how FLOPs, time and memory grow with the input."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

STYLES = {'tensor': '-', 'predict': ':', 'train': '--'}
PANELS: tuple[tuple[str, Callable[[dict], float]], ...] = (
    ('GFLOPs of one image, forward', lambda line: line['flops'] / 1e9),
    ('ms for a batch', lambda line: line['latency_ms']['median']),
    ('peak memory, MiB', lambda line: line['peak_memory_bytes'] / 2**20),
)


def plot_growth(result: dict, path: str | Path) -> None:
    """Draw what :func:`compare` returns against the number of pixels, on logarithmic axes.

    One colour for each config and variant, one kind of line for each mode, and in grey what grows
    with the pixels from the first point on.

    Args:
        result: Measured with ``flops=True`` and at two sizes or more.
        path: Picture to write; its suffix says the format.

    Raises:
        ValueError: FLOPs or sizes are missing.
    """
    lines: dict[tuple, list[dict]] = {}
    for line in sorted(result['results'], key=lambda line: line['shape'][0] * line['shape'][1]):
        lines.setdefault((line['config'], line['variant'], line['mode']), []).append(line)
    if len(result['shapes']) < 2 or any(r['flops'] is None for r in result['results']):
        raise ValueError('growth needs FLOPs and at least two sizes; measure with both')
    models = list(dict.fromkeys(key[:2] for key in lines))
    sizes = {height * width: f'{height}x{width}' for height, width in result['shapes']}

    figure = Figure(figsize=(11, 4), layout='constrained')
    for axes, (title, value) in zip(figure.subplots(1, 3), PANELS, strict=True):
        for (*model, mode), points in lines.items():
            if title.startswith('GFLOPs') and mode == 'train' and len(STYLES) > 1:
                continue
            axes.plot(
                [height * width for height, width in (point['shape'] for point in points)],
                [value(point) for point in points],
                STYLES[mode],
                marker='o',
                markersize=3,
                color=f'C{models.index(tuple(model))}',
                label=_label(*model, mode),
            )
        start, end = min(sizes), max(sizes)
        first = axes.lines[0].get_ydata()[0]
        axes.plot(
            [start, end], [first, first * end / start], color='0.7', zorder=0, label='linear'
        )
        axes.set(xscale='log', yscale='log', title=title)
        axes.set_xticks(list(sizes), list(sizes.values()), rotation=45, ha='right')
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc='outside lower center', ncols=4)
    figure.savefig(path, dpi=110)


def _label(config: str, variant: str, mode: str) -> str:
    words = [Path(config).stem, variant if variant != 'eager' else '', mode]
    return ' '.join(word for word in words if word)
