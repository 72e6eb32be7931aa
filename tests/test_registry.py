"""Registration: both spellings in every host, no host's name taken, hosts that are absent."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope, Registry

import mmvit_plugins
from mmvit_plugins.registry import HOSTS, MODELS, is_available

PACKAGE = Path(mmvit_plugins.__file__).parent


def run(code, *blocked):
    """Run code in a fresh interpreter in which the modules ``blocked`` are not installed."""
    hide = (
        'import sys, importlib.machinery as m\n'
        f'blocked = {blocked!r}\n'
        'find = m.PathFinder.find_spec\n'
        'm.PathFinder.find_spec = classmethod(lambda cls, name, *a:'
        ' None if {name, name.split(".")[0]} & set(blocked) else find(name, *a))\n'
    )
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', hide + code],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmseg', 'mmpretrain'])
def test_both_spellings_build_in_a_host(host):
    """The prefix needs no import by hand; the bare name works once the package is imported."""
    code = (
        f'from {host}.registry import MODELS\n'
        'from mmengine.registry import init_default_scope\n'
        f'init_default_scope("{host}")\n'
        'import sys\n'
        'assert "mmvit_plugins" not in sys.modules\n'
        'for name in ("mmvit_plugins.AFFormer", "AFFormer"):\n'
        '    print(type(MODELS.build(dict(type=name, arch="tiny"))).__module__)\n'
    )
    result = run(code)
    expected = ['mmvit_plugins.models.backbones.afformer'] * 2
    assert result.stdout.split() == expected, result.stderr


def test_both_spellings_build_in_any_host():
    """Any child of mmengine's root will do."""
    host = Registry('model', parent=ROOT, scope='some_host')
    with DefaultScope.overwrite_default_scope('some_host'):
        for name in ('AFFormer', 'mmvit_plugins.AFFormer'):
            assert type(host.build({'type': name})) is mmvit_plugins.models.AFFormer
    ROOT.children.pop('some_host')


@pytest.mark.slow
@pytest.mark.parametrize('blocked', [('mmseg',), (*HOSTS, 'mmcv')])
def test_import_without_hosts(blocked):
    """The backbone works; what needs the absent host says so in one sentence."""
    code = (
        'import mmvit_plugins, torch\n'
        'from mmvit_plugins.registry import MODELS\n'
        'm = MODELS.build(dict(type="AFFormer"))\n'
        'print(len(m.eval()(torch.zeros(1, 3, 32, 32))))\n'
        'MODELS.build(dict(type="AFFormerHead", num_classes=2))\n'
    )
    result = run(code, *blocked)
    assert result.stdout.strip() == '4', result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert 'mmvit_plugins.AFFormerHead needs mmsegmentation, which is not installed: pip' in last


@pytest.mark.slow
def test_a_broken_host_leaves_the_rest_usable(tmp_path):
    """As with a torchvision of another torch; what needs the host says what is wrong with it."""
    (tmp_path / 'torchvision.py').write_text('raise RuntimeError("operator nms does not exist")')
    code = (
        f'import sys; sys.path.insert(0, {str(tmp_path)!r})\n'
        'from mmvit_plugins.registry import MODELS\n'
        'm = MODELS.build(dict(type="MGFF", in_channels=(8,), strides=(4,), grid_size=2))\n'
        'print(type(m))\n'
        'MODELS.build(dict(type="MGFFHead", num_classes=2, in_channels=8))\n'
    )
    result = run(code)
    assert 'MGFF' in result.stdout, result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert 'mmvit_plugins.MGFFHead needs mmpretrain, which is installed but cannot be' in last
    assert '(RuntimeError: operator nms does not exist)' in last


@pytest.mark.slow
@pytest.mark.parametrize(
    ('blocked', 'fit'),
    [('mmcv._ext', ['mmseg', 'mmpretrain', 'mmdet']), ('mmdet', ['mmseg', 'mmpretrain'])],
)
def test_what_works_without_compiled_ops_and_without_mmdetection(blocked, fit):
    """No host needs compiled ops, and the rest none of mmdetection."""
    code = (
        'import mmseg.models, mmpretrain.models\n'
        'from mmvit_plugins.environment import check_environment\n'
        'from mmvit_plugins.registry import MODELS\n'
        'MODELS.build(dict(type="AFFormerHead", num_classes=2))\n'
        'MODELS.build(dict(type="MGFFHead", num_classes=2, in_channels=8))\n'
        'for scope in ("mmseg", "mmpretrain", "mmdet"):\n'
        '    check_environment(scope)\n'
        '    print(scope)\n'
    )
    result = run(code, blocked)
    assert result.stdout.split() == fit, result.stderr
    if 'mmdet' not in fit:
        last = result.stderr.strip().splitlines()[-1]
        assert 'UserError' in last and last.endswith(f'is not installed: {HOSTS["mmdet"][1]}')


@pytest.mark.slow
@pytest.mark.parametrize('name', ['AFFormerHead', 'MGFFHead', 'TwoStageClassifier'])
def test_what_inherits_from_a_host_comes_on_demand(name):
    """By its prefix and by its import, and its host with it."""
    host = 'mmseg' if name == 'AFFormerHead' else 'mmpretrain'
    code = (
        'import sys, mmvit_plugins\n'
        'from mmengine.registry import MODELS\n'
        'assert not {"mmcv", "mmseg", "mmpretrain", "mmdet"} & set(sys.modules)\n'
        f'kind = MODELS.get("mmvit_plugins.{name}")\n'
        f'from mmvit_plugins.models import {name}\n'
        f'print(kind is {name}, {host!r} in sys.modules)\n'
    )
    result = run(code)
    assert result.stdout.split() == ['True', 'True'], result.stderr


def test_is_available():
    assert is_available('torch') and not is_available('no_such_package')


def test_aliases_take_no_name_of_a_host():
    for host in ('mmseg', 'mmpretrain'):
        importlib.import_module(f'{host}.models')

    ours = {n for n, c in ROOT.module_dict.items() if c.__module__.startswith('mmvit_plugins')}
    assert ours == {'AFFormer', 'LSGAViT', 'MGFF', 'SGFormer', 'T2TViT'}
    for host in ROOT.children.values():
        if host.scope != 'mmvit_plugins':
            assert not ours & host.module_dict.keys()


@pytest.mark.parametrize('asked', ['', 'MODELS.get("Conv2d")\n'])
def test_bare_names_come_after_the_import_whatever_was_asked_before(asked):
    """mmengine's root looks into its locations once, when it is first asked."""
    code = (
        'from mmengine.registry import MODELS\n'
        f'{asked}'
        'import mmvit_plugins\n'
        'print(MODELS.get("AFFormer").__module__)\n'
    )
    result = run(code)
    assert result.stdout.split() == ['mmvit_plugins.models.backbones.afformer'], result.stderr


def test_only_the_root_of_models_looks_at_ours():
    """One list of locations serves all of mmengine's registries that are made without any."""
    import mmengine.registry as registries

    ours = 'mmvit_plugins.models'
    nodes = {n: x for n, x in vars(registries).items() if isinstance(x, registries.Registry)}
    assert [name for name, node in nodes.items() if ours in node._locations] == ['MODELS']


def test_our_scope_is_found_from_any_scope():
    with DefaultScope.overwrite_default_scope('mmengine'):
        assert ROOT.get('mmvit_plugins.AFFormer') is MODELS.get('AFFormer')


@pytest.mark.slow
def test_what_runs_the_training_is_found_from_a_host():
    """By the prefix alone; mmengine asks its own nodes for it."""
    code = (
        'import sys\n'
        'from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS, init_default_scope\n'
        'init_default_scope("mmseg")\n'
        'name = "LayerDecayOptimWrapperConstructor"\n'
        'assert "mmvit_plugins" not in sys.modules\n'
        'print(OPTIM_WRAPPER_CONSTRUCTORS.get(f"mmvit_plugins.{name}").__module__)\n'
        'assert OPTIM_WRAPPER_CONSTRUCTORS.get(name) is None\n'
        'print(HOOKS.get("mmvit_plugins.DataCheckHook").__module__)\n'
    )
    result = run(code)
    expected = ['mmvit_plugins.engine.optim', 'mmvit_plugins.engine.hooks']
    assert result.stdout.split() == expected, result.stderr


# The floors, from the ground up: a part imports from itself and from the parts named here.
GROUND = {'errors', 'registry', 'writing'}
DATA = {'checkpoint', 'datasets', 'evaluation', 'visualization'}
ALLOWED = {
    '__init__': {'ops', 'registry', 'version'},
    'version': set(),
    'errors': set(),
    'writing': set(),
    'registry': set(),
    'layers': set(),
    'converters': set(),
    'ops': GROUND,
    'environment': GROUND,
    'config': GROUND | {'environment', 'ops'},
    'checkpoint': GROUND | {'converters'},
    'datasets': GROUND,
    'evaluation': GROUND,
    'visualization': GROUND,
    'models': GROUND | {'checkpoint', 'layers'},
    'engine': GROUND | DATA | {'models'},
    'analysis': GROUND | {'config', 'environment', 'models'},
    'apis': GROUND | DATA | {'analysis', 'config', 'engine', 'environment', 'models'},
}
HOST_FOLDERS = {'mmseg': {'seg_heads'}, 'mmpretrain': {'cls_heads', 'classifiers'}}


def imports_of(file):
    """Yield (absolute module, whether at the top level) of every import in a file."""
    parts = file.relative_to(PACKAGE.parent).with_suffix('').parts
    tree = ast.parse(file.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(parts[: -node.level]) if node.level else ''
            modules = [node.module] if node.module else [alias.name for alias in node.names]
            for module in modules:
                yield '.'.join(filter(None, (base, module))), id(node) in top


@pytest.mark.parametrize('file', sorted(PACKAGE.rglob('*.py')), ids=lambda f: f.stem)
def test_arrows_between_modules_go_one_way(file):
    parts = file.relative_to(PACKAGE).parts
    if '.mim' in parts:
        pytest.skip('the copy that an installed package carries')
    part = parts[0].removesuffix('.py')
    for module, at_top in imports_of(file):
        names = module.split('.')
        # operators are mmcv's Python code, which needs what the package puts in their place
        assert not module.startswith('mmcv.ops') or (part == 'ops' and not at_top), module
        # detection needs configs only; what runs it calls the host's functions
        assert names[0] != 'mmdet' or (part == 'apis' and not at_top), f'{module} in {file}'
        if names[0] in HOST_FOLDERS and at_top:
            assert HOST_FOLDERS[names[0]] & set(parts), f'{module} at the top of {file}'
        if names[0] == 'mmvit_plugins' and len(names) > 1:
            assert names[1] in {part, *ALLOWED[part]}, f'{part} imports {module}'
        if part in ('layers', 'converters'):
            assert names[0] in {'torch', 'einops', 'mmvit_plugins', *sys.stdlib_module_names}, (
                module
            )


def test_the_architecture_page_has_a_room_for_every_file():
    """And no other rooms: each row names the files of its folder."""
    page = (PACKAGE.parent / 'docs/architecture.md').read_text()
    rooms = set()
    for room, text in re.findall(r'^\| (.+?) \| (.+) \|$', page.partition('## Rooms')[2], re.M):
        folder = re.match('`(.+)/`', room)
        for name in re.findall('`([a-z0-9_/]+)`', text):
            rooms.add(f'{folder[1]}/{name}' if folder else name)
    files = {
        str(path.relative_to(PACKAGE).with_suffix(''))
        for path in PACKAGE.rglob('*.py')
        if '.mim' not in path.parts and path.stem != '__init__'
    }
    assert files <= rooms, files - rooms
    others = {name for name in rooms - files if not name.startswith(('tools/', 'configs/'))}
    assert not others, 'rooms without a file'
