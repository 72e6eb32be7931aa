"""Config files that cannot be read: file, line and reason; data builds nothing."""

import json

import pytest

from mmvit_plugins.config.files import check_texts, is_variable, read_config
from mmvit_plugins.errors import UserError

BOMB = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10)
)


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('a.py', "x = 1\nmodel = dict(type='X'\n", "a.py, line 2: '\\(' was never closed"),
        ('a.py', 'x = 1\ny = x / 0\n', 'a.py, line 2: ZeroDivisionError: division by zero'),
        ('a.py', '_base_ = []\nimport not_a_module\n', "line 2: .*No module named 'not_a_module'"),
        ('a.py', "_base_ = './b.py'\n", 'its _base_ .*b.py does not exist'),
        ('a.py', "_base_ = './a.py'\n", 'go in a circle: .*a.py -> .*a.py'),
        ('a.py', b'\x00\xff', 'no text in UTF-8'),
        ('a.pth', 'PK', 'is no config file: give one that ends in .py, '),
        ('a.py', "custom_imports = dict(imports=['no_such'])", 'custom_imports: .*no_such'),
        ('a.py', 'filename = 3', 'filename is reserved'),
        ('a.yaml', 'a: [1, 2\nb: {', 'a.yaml, line 2: '),
        ('a.json', '{"a": 1,', 'a.json, line 1: '),
        ('a.yaml', '', 'holds no settings'),
        ('a.json', '[1]', 'holds no settings'),
        ('a.yaml', BOMB, 'aliases stand for more than 100,000 values'),
        ('a.yaml', 'a: &a [*a]', 'an alias stands for what it is part of'),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=words):
        read_config(str(path))


@pytest.mark.parametrize('tag', ['object/apply:pathlib.Path.touch', 'name:os.system'])
def test_yaml_builds_no_objects_also_as_a_base(tmp_path, tag):
    marker, path = tmp_path / 'ran', tmp_path / 'a.yaml'
    path.write_text(f"a: !!python/{tag} ['{marker}']\n")
    (tmp_path / 'b.py').write_text("_base_ = './a.yaml'\n")
    for name in ('a.yaml', 'b.py'):
        with pytest.raises(
            UserError, match=f'a.yaml, line 1: the tag !!python/{tag} builds objects'
        ):
            read_config(str(tmp_path / name))
    assert not marker.exists()


def test_bases_that_set_the_same(tmp_path):
    for name in 'ab':
        (tmp_path / f'{name}.py').write_text('x = 1')
    (tmp_path / 'c.py').write_text("_base_ = ['./a.py', './b.py']")
    with pytest.raises(UserError, match="more than one of its _base_ files set 'x'"):
        read_config(str(tmp_path / 'c.py'))


def test_good_files_are_read(tmp_path):
    """Tuples, which mmengine dumps with a tag, and aliases of a usual size."""
    cases = {
        'a.yaml': 'a: !!python/tuple [1, [2]]\nb: &b {c: 1}\nd: [*b, *b]\n',
        'a.json': json.dumps({'a': [1]}),
        'a.py': 'a = (1, [2])',
    }
    for name, text in cases.items():
        (tmp_path / name).write_text(text)
    assert read_config(str(tmp_path / 'a.yaml')).a == (1, [2])
    assert read_config(str(tmp_path / 'a.yaml')).d == [{'c': 1}, {'c': 1}]
    assert read_config(str(tmp_path / 'a.json')).a == [1]
    assert read_config(str(tmp_path / 'a.py')).a == (1, [2])


def test_which_settings_are_variables_of_the_file(tmp_path):
    (tmp_path / 'a.py').write_text('root = 1  # flag\nflag = 2\nmodel = dict(root=root)\n')
    cfg = read_config(str(tmp_path / 'a.py'))
    assert is_variable(cfg, 'root')
    assert not is_variable(cfg, 'flag')


@pytest.mark.parametrize('host', ['mmseg', 'mmpretrain', 'mmdet'])
def test_configs_of_the_hosts_are_found(host, tmp_path):
    """By whatever distribution a host was installed."""
    path = tmp_path / f'{host}_runtime.py'
    path.write_text(f"_base_ = '{host}::_base_/default_runtime.py'")
    assert read_config(str(path)).default_scope == host


def test_no_text_of_a_config_is_a_program():
    """Mmcv evaluates the type of an NMS, mmpretrain the name of a dtype."""
    check_texts({'nms': {'type': 'soft_nms'}, 'steps': [{'type': 'mmseg.A', 'dtype': 'float32'}]})
    check_texts({'metainfo': {'classes': ['rock (old)', 'f(x)']}})
    for bad in ("__import__('os')", 'os.system("x")', 'nms or f()'):
        with pytest.raises(UserError, match='^a.0.nms.type='):
            check_texts({'a': [{'nms': {'type': bad}}]})
