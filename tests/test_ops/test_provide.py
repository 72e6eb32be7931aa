"""How ``mmcv.ops`` comes to its operators: from any entry, beside compiled ones, and without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hosts import WITHOUT_STARTUP
from mmcv import ops
from mmengine.registry import MODELS

import mmvit_plugins
from mmvit_plugins.ops import check_operators, stands_in

PACKAGE = Path(mmvit_plugins.__file__).parent
STARTUP = PACKAGE / 'ops' / 'startup.pth'
# As if mmcv had no compiled operators, wherever the test runs
FRESH = f"""{WITHOUT_STARTUP}
import warnings
from importlib.machinery import PathFinder
warnings.simplefilter('ignore')
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *rest: None if name in HIDDEN else find(name, *rest)
)
"""


def run(code, hidden=('mmcv._ext',), folder=None):
    paths = filter(None, (folder, PACKAGE.parent, os.environ.get('PYTHONPATH')))
    return subprocess.run(
        [sys.executable, '-c', f'HIDDEN = {hidden!r}\n{FRESH}\n{code}'],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, paths))},
    )


@pytest.mark.slow
def test_importing_the_package_imports_no_host():
    """Nor mmcv or torchvision; operators are there once somebody asks for them."""
    result = run("""
import mmvit_plugins
print([x for x in ('mmcv', 'mmseg', 'mmpretrain', 'mmdet', 'torchvision') if x in sys.modules])
import mmcv.ops, torchvision
print(mmcv.ops.nms.__module__, sys.modules['mmcv._ext'].__name__)
from mmcv.utils import collect_env
print(collect_env()['MMCV Compiler'])
""")
    lines = result.stdout.splitlines()
    assert lines[:2] == ['[]', 'mmcv.ops.nms mmvit_plugins.ops.extension'], result.stderr
    assert lines[2].startswith('none: torchvision 0')


@pytest.mark.slow
def test_hosts_that_came_first_get_their_operators():
    """What stood in their modules for a missing operator gives way to it."""
    result = run("""
import mmseg.models.losses.focal_loss as focal, mmseg.models.utils.point_sample as points
import mmdet.structures.mask.structures as masks, mmdet.apis.inference as inference
import mmcv.cnn.bricks.transformer as bricks
assert focal._sigmoid_focal_loss is None and 'mmcv.ops' not in sys.modules
import mmvit_plugins
import mmcv.ops as ops
assert focal._sigmoid_focal_loss is ops.sigmoid_focal_loss
assert points.point_sample is ops.point_sample
assert masks.roi_align is ops.roi_align
assert inference.RoIPool is ops.RoIPool
assert bricks.MultiScaleDeformableAttention is ops.MultiScaleDeformableAttention
import mmdet.models  # which cannot be imported without
print('fine')
""")
    assert result.stdout.splitlines()[-1:] == ['fine'], result.stderr


@pytest.mark.slow
def test_the_line_for_the_start_of_python_serves_mmdetection():
    """It imports nothing before mmcv is asked for operators, and mmdetection then has them."""
    result = run(f"""
before = set(sys.modules)
exec({STARTUP.read_text()!r})
assert set(sys.modules) == before
import mmdet.models
from mmdet.models.layers.bbox_nms import batched_nms
import mmcv.ops
assert batched_nms is mmcv.ops.batched_nms and 'mmvit_plugins' in sys.modules
print([type(x).__name__ for x in sys.meta_path].count('_Finder'))
""")
    assert result.stdout.splitlines()[-1:] == ['1'], result.stderr
    assert 'Line NMS' not in result.stdout + result.stderr


@pytest.mark.slow
def test_compiled_operators_of_another_torch_give_way(tmp_path):
    """One sentence says so; what stands in is used."""
    (tmp_path / 'broken.py').write_text(
        'import sys\n'
        'class Broken:\n'
        '    def find_spec(self, name, *rest):\n'
        '        if name == "mmcv._ext":\n'
        '            raise ImportError("_ext.so: undefined symbol: _ZN3c10")\n'
        'sys.meta_path.insert(0, Broken())\n'
    )
    result = run(
        """
import broken, mmvit_plugins, torch
warnings.simplefilter('default')
from mmcv.ops import nms
print(nms(torch.tensor([[0., 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.1, 0.2]), 0.5)[1].tolist())
""",
        hidden=(),
        folder=tmp_path,
    )
    assert result.stdout.strip() == '[1]', result.stderr
    said = [line for line in result.stderr.splitlines() if 'do not fit torch' in line]
    assert len(said) == 1 and f'torch {torch.__version__} (_ext.so: undefined symbol' in said[0]


# As mmcv's compiled operators do: they take a tensor's memory for contiguous, to read and to write.
# The folder by another name, since the package itself sees to mmcv.ops
RAW = f"""
import torch, types
from importlib.machinery import ModuleSpec
sys.modules['alone'] = types.ModuleType('alone')
sys.modules['alone'].__path__ = [{str(PACKAGE / 'ops')!r}]
from alone import extension

def raw(x):
    return x.as_strided(x.shape, torch.empty(x.shape, device='meta').stride()) if isinstance(
        x, torch.Tensor) and x.ndim == 4 else x

calls = []

class Compiled(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        def call(*args, **kwargs):
            calls.append(name)
            return getattr(extension, name)(*map(raw, args), **kwargs)
        return call

compiled = Compiled('mmcv._ext')
compiled.__spec__ = ModuleSpec('mmcv._ext', None)
sys.modules['mmcv._ext'] = compiled
LAST = torch.channels_last
def close(one, two):
    torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)
"""
RIGHT = """
from mmcv.ops import CARAFE, RoIAlign, RoIPool, modulated_deform_conv2d
CARAFE(3, 1, 2)  # compiled ones are there: nothing is refused
torch.manual_seed(0)
x, rois = torch.randn(2, 3, 8, 9), torch.tensor([[0, 1, 1, 6, 6.0], [1, 0, 2, 8, 7]])
for layer in RoIAlign(3), RoIPool(3):
    results = []
    for maps in x.clone(), x.to(memory_format=LAST):
        out = layer(maps.requires_grad_(), rois)
        grad = torch.arange(out.numel()).view(2, 3, 3, 3).permute(0, 1, 3, 2) / 10
        results.append((out, *torch.autograd.grad(out, maps, grad)))
    for one, two in zip(*results):
        close(one, two)
offset, mask = torch.randn(2, 18, 8, 9), torch.rand(2, 9, 8, 9)
weight = torch.randn(4, 3, 3, 3)
results = []
for layout in torch.contiguous_format, LAST:
    leaves = [t.to(memory_format=layout).requires_grad_() for t in (x, offset, mask, weight)]
    out = modulated_deform_conv2d(*leaves, None, 1, 1)
    results.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
for one, two in zip(*results):
    close(one, two)
assert {'roi_align_forward', 'roi_pool_backward', 'modulated_deform_conv_backward'} <= set(calls)
from mmvit_plugins.ops import provide, stands_in
assert not stands_in()
provide()  # once more changes nothing
close(RoIAlign(3)(x.to(memory_format=LAST), rois), RoIAlign(3)(x, rois))
print('right')
"""


@pytest.mark.slow
@pytest.mark.parametrize('order', ['ours first', 'mmcv first'])
def test_compiled_operators_stay_and_read_any_layout(order):
    """mmcv's own are called, with contiguous tensors, whoever imported them."""
    first = 'import mmvit_plugins' if order == 'ours first' else ''
    then = 'import mmcv.ops\nimport mmvit_plugins' if order == 'mmcv first' else ''
    result = run(f'{first}\n{RAW}\n{then}\n{RIGHT}')
    assert result.stdout.strip() == 'right', result.stderr


@pytest.mark.slow
def test_the_operators_above_are_wrong_without_us():
    """So that the test before this one can fail."""
    result = run(f'{RAW}\n{RIGHT}')
    assert 'AssertionError: Tensor-likes are not close' in result.stderr


@pytest.mark.slow
def test_without_torchvision_hosts_see_an_mmcv_without_operators():
    result = run(
        """
import mmvit_plugins, mmseg.models
try:
    import mmcv.ops
except ModuleNotFoundError as error:
    print(error)
""",
        hidden=('mmcv._ext', 'torchvision'),
    )
    assert "torchvision's cannot stand in (No module named 'torchvision'); install" in result.stdout


needs_stand_in = pytest.mark.skipif(not stands_in(), reason='mmcv has compiled operators')


@needs_stand_in
@pytest.mark.parametrize(
    'build',
    [
        lambda: ops.CARAFEPack(4, 2),
        lambda: ops.RoIAlignRotated(2, 1.0),
        lambda: ops.MaskedConv2d(3, 3, 1),
        lambda: MODELS.build(dict(type='carafe', channels=4, scale_factor=2)),
    ],
)
def test_a_module_without_its_operator_is_refused_when_built(build):
    with pytest.raises(ImportError, match=r'^\w+ needs an operator of mmcv that is compiled code'):
        build()


@needs_stand_in
def test_a_function_without_its_operator_says_so():
    boxes = torch.rand(3, 5)
    with pytest.raises(ImportError, match='^mmcv.ops: nms_rotated needs an operator'):
        ops.nms_rotated(boxes, torch.rand(3), 0.5)


@needs_stand_in
def test_only_these_modules_are_refused():
    """What torchvision or plain torch computes is built; of the rest none slips through."""
    refused = {name for name in dir(ops) if hasattr(getattr(ops, name), 'refuses')}
    kept = {
        name
        for name in dir(ops)
        if isinstance(getattr(ops, name), type)
        and issubclass(getattr(ops, name), torch.nn.Module)
        and name not in refused
    }
    assert {'CARAFE', 'PSAMask', 'RoIAlignRotated', 'TINShift', 'Voxelization'} <= refused
    assert kept >= {
        *('RoIAlign', 'RoIPool', 'DeformConv2d', 'DeformConv2dPack', 'ModulatedDeformConv2d'),
        *('ModulatedDeformConv2dPack', 'MultiScaleDeformableAttention', 'SAConv2d', 'CornerPool'),
        *('SigmoidFocalLoss', 'SoftmaxFocalLoss', 'CrissCrossAttention', 'SimpleRoIAlign'),
    }


@needs_stand_in
@pytest.mark.parametrize('name', ['nms_rotated', 'nms_quadri', 'carafe', 'RoIAlignRotated'])
def test_a_config_with_an_operator_that_is_not_there(name):
    model = dict(test_cfg=dict(rcnn=[dict(nms=dict(type=name, iou_threshold=0.5))]))
    with pytest.raises(ImportError, match=f'^{name} needs an operator of mmcv'):
        check_operators(model)


def test_a_config_with_operators_that_are_there():
    names = 'nms', 'soft_nms', 'RoIAlign', 'DCNv2', 'MultiScaleDeformableAttention', 'ResNet'
    check_operators(dict(parts=[dict(type=name) for name in names], type='MaskRCNN'))
