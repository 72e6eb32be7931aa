"""The command that times configs, called as users call it."""

import json

import pytest


@pytest.mark.slow
def test_two_configs_side_by_side(call, miniature, tmp_path):
    pytest.importorskip('mmseg')
    other = tmp_path / 'backbone.py'
    other.write_text(
        "custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)\n"
        "model = dict(type='mmvit_plugins.AFFormer', arch='tiny')\n"
    )
    # fmt: off
    result = call(
        'benchmark.py', miniature, other, '--shape', 64, '--batch-size', 2, '--repeats', 2,
        '--warmup', 1, '--threads', 1, '--variant', 'eager', '--variant', 'deploy',
        '--json', 'new/out.json',
    )
    # fmt: on
    assert result.returncode == 0, result.stderr
    measured = json.loads((tmp_path / 'new/out.json').read_text())
    lines = [(line['config'], line['variant']) for line in measured['results']]
    assert lines == [(str(c), v) for c in (miniature, other) for v in ('eager', 'deploy')]
    assert (measured['batch_size'], measured['threads'], measured['shapes']) == (2, 1, [[64, 64]])
    assert 'benchmark.py' in measured['command'] and '--variant deploy' in measured['command']
    rows = [row for row in result.stdout.splitlines() if row.startswith('| ')]
    assert len(rows) == 2 + 4
    assert rows[-1].startswith('| backbone ') and 'deploy' in rows[-1]


@pytest.mark.slow
def test_growth_in_training(call, tmp_path):
    config = tmp_path / 'backbone.py'
    config.write_text(
        "model = dict(type='mmvit_plugins.AFFormer', arch=dict(embed_dims=(8, 8, 8, 8), "
        'depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2, windows={3: 2}))\n'
    )
    # fmt: off
    result = call(
        'benchmark.py', config, '--train', '--shape', 64, '--shape', 64, 128, '--repeats', 1,
        '--warmup', 1, '--batch-size', 2, '--plot', 'new/growth.png', '--json', 'out.json',
    )
    # fmt: on
    assert result.returncode == 0, result.stderr
    lines = json.loads((tmp_path / 'out.json').read_text())['results']
    sizes = [[64, 64], [64, 128]]
    assert [(r['mode'], r['shape']) for r in lines] == [
        (mode, shape) for mode in ('tensor', 'train') for shape in sizes
    ]
    assert lines[1]['flops'] == 2 * lines[0]['flops']
    assert (tmp_path / 'new/growth.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'error: the config missing.py does not exist'),
        (['model.py', '--variant', 'depoly'], "error: variant 'depoly': 'depoly' is unknown"),
        (['model.py', '--predict', '--shape', 32], 'error: AFFormer is no complete model'),
        (['model.py', '--shape', 32, '--plot', 'x.png'], 'error: --plot shows how'),
    ],
)
def test_wrong_use_is_one_sentence(call, tmp_path, arguments, message):
    (tmp_path / 'model.py').write_text("model = dict(type='mmvit_plugins.AFFormer')\n")
    result = call('benchmark.py', *arguments)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith(message)
    assert 'Traceback' not in result.stderr
