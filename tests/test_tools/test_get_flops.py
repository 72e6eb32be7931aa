"""The command that counts FLOPs, called as users call it."""

import json

import pytest


@pytest.mark.slow
def test_text_and_json_agree(call, miniature):
    pytest.importorskip('mmseg')
    text = call('get_flops.py', miniature, '--shape', 64, 96)
    assert text.returncode == 0, text.stderr
    assert '3x64x96 (as asked)' in text.stdout
    result = json.loads(call('get_flops.py', miniature, '--shape', 64, 96, '--json').stdout)
    assert result['shape'] == [3, 64, 96]
    rows = {
        row.split('|')[1].strip(): row.split('|')[2:4]
        for row in text.stdout.splitlines()
        if row.startswith('|')
    }
    for part in (*result['parts'], dict(result, name='total')):
        parameters, flops = rows[part['name']]
        assert int(parameters.replace(',', '')) == part['parameters']
        assert float(flops) == pytest.approx(part['flops'] / 1e9, abs=6e-4)
    assert list(rows) == ['part', '--------', 'backbone', 'head', 'resize', 'total']


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'error: the config missing.py does not exist'),
        (['empty.py'], 'error: config \'empty.py\' has no dict named "model"'),
    ],
)
def test_wrong_config_is_one_sentence(call, tmp_path, arguments, message):
    (tmp_path / 'empty.py').write_text('x = 1\n')
    result = call('get_flops.py', *arguments)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith(message)
    assert 'Traceback' not in result.stderr
