"""AFFormer: parity with the official outputs, the deploy form, and what only this network has."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.utils import register_all_modules
from recipe import Golden, draw_normal

from mmvit_plugins.models import AFFormer, AFFormerHead
from mmvit_plugins.models.backbones.afformer import ARCHS, low_pass

register_all_modules(init_default_scope=False)

GOLDEN = ['afformer_tiny', 'afformer_small', 'afformer_base', 'afformer_tiny_odd']


def build(golden):
    backbone = AFFormer(golden.meta['variant'])
    head = AFFormerHead(
        num_classes=150, loss_decode={'type': 'mmseg.CrossEntropyLoss', 'avg_non_ignore': False}
    )
    for module, prefix in ((backbone, 'backbone.'), (head, 'decode_head.')):
        state = golden.state.items()
        module.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state if k.startswith(prefix)}
        )
    return backbone.eval(), head.eval()


@pytest.mark.parametrize('name', GOLDEN)
@pytest.mark.parametrize('deploy', [False, True])
def test_parity_with_the_official_outputs(name, deploy):
    golden = Golden(name)
    backbone, head = build(golden)
    if deploy:
        backbone.switch_to_deploy()
    x = golden.input.requires_grad_()
    outs = backbone(x)
    for i, out in enumerate(outs):
        assert golden.error(f'stage{i}', out) <= 1e-5
    assert golden.error('logits', head(outs)) <= 1e-5
    (outs[3] * draw_normal(outs[3].shape, seed=1)).sum().backward()
    assert golden.error('grad/input', x.grad) <= 5e-3


def test_parity_would_notice_a_mistake():
    """The stored elements are a sample: a slip as small as GELU's tanh form must still show."""
    golden = Golden('afformer_tiny')
    backbone, head = build(golden)
    for stage in backbone.stages:
        for block in stage.blocks:
            block.mlp.act = torch.nn.GELU(approximate='tanh')
    assert golden.error('logits', head(backbone(golden.input))) > 2e-5


@pytest.mark.parametrize(
    ('arch', 'parameters', 'blocks'),
    [('tiny', 2032948, 8), ('small', 2228748, 8), ('base', 2843548, 10)],
)
def test_size_of_the_variants(arch, parameters, blocks):
    model = AFFormer(arch)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(len(stage.blocks) for stage in model.stages) == blocks
    assert model.strides == (4, 8, 8, 8)


def test_head_has_no_dead_branch():
    head = AFFormerHead(num_classes=150)
    assert sum(p.numel() for p in head.parameters()) == 160406 - 66048
    maps = [torch.randn(2, c, s, s) for c, s in ((64, 16), (160, 8), (216, 8), (216, 8))]
    head(maps).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_shared_modules_are_registered_once():
    """Repeats would make ``paramwise_cfg`` raise and safetensors refuse."""
    model = AFFormer()
    assert len(model.state_dict()) == 300
    storages = [value.data_ptr() for value in model.state_dict().values()]
    assert len(set(storages)) == len(storages)
    wrapper = build_optim_wrapper(
        model,
        {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.05},
            'paramwise_cfg': {'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0},
        },
    )
    groups = {id(p): g for g in wrapper.optimizer.param_groups for p in g['params']}
    spared = model.no_weight_decay()
    for name, param in model.named_parameters():
        assert (groups[id(param)]['weight_decay'] == 0) == (name in spared), name


def test_layer_wise_decay_through_mmpretrain():
    from mmpretrain.engine.optimizers import LearningRateDecayOptimWrapperConstructor

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = AFFormer()

        def get_layer_depth(self, name):
            return self.backbone.get_layer_depth(name, 'backbone.')

    constructor = LearningRateDecayOptimWrapperConstructor(
        {'optimizer': {'type': 'AdamW', 'lr': 1.0, 'weight_decay': 0.05}},
        {'layer_decay_rate': 0.5},
    )
    groups = constructor(Model()).optimizer.param_groups
    rates = {g['param_name']: g['lr'] for g in groups}
    assert rates['backbone.stem.0.conv.weight'] == 0.5**10
    assert rates['backbone.stages.3.aggregate.conv.weight'] == 0.5


def test_deploy_form_is_equal_and_has_no_norms():
    model = AFFormer('base').eval()
    for buffer in model.buffers():
        if buffer.dtype.is_floating_point:
            buffer.uniform_(0.5, 1.5)
    x = torch.randn(2, 3, 65, 97)
    expected = model(x)
    model.switch_to_deploy()
    model.switch_to_deploy()
    for out, reference in zip(model(x), expected, strict=True):
        assert (out - reference).norm() / reference.norm() < 1e-5
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())


def test_low_pass_averages_over_grids():
    """Constants pass unchanged; the first quarter of the channels becomes its mean."""
    v = torch.ones(1, 7, 5, 8) * torch.arange(8.0)
    assert torch.allclose(low_pass(v), v)
    v = torch.randn(1, 7, 5, 8)
    assert torch.allclose(
        low_pass(v)[..., :2], v[..., :2].mean((1, 2), keepdim=True).expand(1, 7, 5, 2)
    )


def test_blocks_cost_linear_time_in_tokens():
    """No tensor of the forward grows with the square of the number of tokens."""
    model = AFFormer(out_indices=(3,)).eval()
    sizes = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                sizes.append(out.numel())
            return out

    with torch.no_grad(), Record():
        model(torch.randn(1, 3, 256, 256))
    # The stem's first map is the largest; the square of stage 2's 32 x 32 tokens would be 2^20.
    assert max(sizes) == 16 * 128 * 128


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'num_heads': 4}, 'share out 8 heads'),
        ({'embed_dims': (32, 60, 160, 216)}, 'multiples of num_heads=8'),
        ({'embed_dims': (32, 64, 160)}, '4 positive integers'),
        ({'depths': (1, 2, 0, 2)}, 'positive'),
        ({'windows': {4: 8}}, 'odd sizes'),
    ],
)
def test_inconsistent_arch_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        AFFormer(ARCHS['tiny'] | change)


def test_other_windows_and_heads_work():
    arch = {
        'embed_dims': (8, 16, 16, 32),
        'depths': (1, 1, 1, 1),
        'num_heads': 4,
        'mlp_ratio': 4,
        'windows': {3: 1, 9: 3},
    }
    assert AFFormer(arch).eval()(torch.randn(1, 3, 40, 40))[-1].shape == (1, 32, 5, 5)
