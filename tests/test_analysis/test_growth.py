"""The picture of growth: what is drawn where, and what cannot be drawn."""

import pytest

from mmvit_plugins.analysis import report
from mmvit_plugins.analysis.report import plot_growth


def measured(shapes, modes=('tensor', 'train'), counted=True):
    return dict(
        shapes=shapes,
        results=[
            dict(
                config=f'configs/{name}.py',
                variant='eager',
                mode=mode,
                shape=shape,
                flops=10**9 * factor * shape[0] if counted else None,
                latency_ms=dict(median=factor * shape[1] * (1 + (mode == 'train')), q1=0, q3=0),
                peak_memory_bytes=2**20 * factor * shape[0] * shape[1],
            )
            for name, factor in dict(net=1, other=3).items()
            for mode in modes
            for shape in shapes
        ],
    )


def test_each_curve_has_its_place_colour_and_line(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(report.Figure, 'savefig', lambda self, path, **_: figures.append(self))
    plot_growth(measured([[64, 128], [32, 32]]), tmp_path / 'unused.png')
    (figure,) = figures
    names = ['net eager tensor', 'net eager train', 'other eager tensor', 'other eager train']
    expected = [
        dict(zip(names, ([32, 64], [32, 64], [96, 192], [96, 192]), strict=True)),
        dict(zip(names, ([32, 128], [64, 256], [96, 384], [192, 768]), strict=True)),
        dict(zip(names, ([1024, 8192], [1024, 8192], [3072, 24576], [3072, 24576]), strict=True)),
    ]
    for axes, wanted in zip(figure.axes, expected, strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ('log', 'log')
        *curves, linear = axes.lines
        assert {line.get_label(): list(line.get_ydata()) for line in curves} == wanted
        assert all(list(line.get_xdata()) == [1024, 8192] for line in curves)
        first = wanted['net eager tensor'][0]
        assert list(linear.get_ydata()) == [first, 8 * first]
        assert [line.get_color() for line in curves] == ['C0', 'C0', 'C1', 'C1']
        assert [line.get_linestyle() for line in curves] == ['-', '--'] * 2
        assert [label.get_text() for label in axes.get_xticklabels()] == ['64x128', '32x32']
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*names, 'as the pixels']


@pytest.mark.parametrize(
    'result', [measured([[32, 32]]), measured([[32, 32], [64, 64]], counted=False)]
)
def test_what_cannot_be_drawn(result, tmp_path):
    with pytest.raises(ValueError, match='FLOPs and at least two sizes'):
        plot_growth(result, tmp_path / 'growth.png')
    assert not list(tmp_path.iterdir())
