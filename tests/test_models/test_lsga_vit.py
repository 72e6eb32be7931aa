"""LSGA-ViT: parity with the official outputs, its forms of attention and position, its files."""

import math

import hosts
import pytest
import torch
from hosts import equal
from mmpretrain.registry import MODELS as PRETRAIN
from mmpretrain.utils import register_all_modules
from recipe import Golden, draw_normal

from mmvit_plugins.checkpoint import CheckpointMismatchError, convert_file, convert_state
from mmvit_plugins.converters.lsga_vit import gaussian
from mmvit_plugins.models import LSGAViT
from mmvit_plugins.models.backbones import lsga_vit
from mmvit_plugins.models.backbones.lsga_vit import flat_gaussian, spatial_gaussian

register_all_modules()

HIER8 = {
    'window_size': 8,
    'embed_dims': 48,
    'depths': (2, 1, 1),
    'num_heads': (3, 6, 12),
    'allow_off_center': True,
}
GOLDEN = {'lsga_ip': {}, 'lsga_ip_strong': {}, 'lsga_hier8': HIER8}
SMALL = {'in_channels': 6, 'window_size': 5, 'embed_dims': 16, 'num_heads': (2,)}
STAGES = {'depths': (1, 1, 1), 'num_heads': (2, 2, 2)}


def small(**options):
    torch.manual_seed(0)
    return LSGAViT(**(SMALL | options)).eval()


class Official:
    """A classifier with the weights of a golden file."""

    def __init__(self, name):
        self.golden = Golden(name)
        self.model = LSGAViT(**GOLDEN[name]).eval()
        state = dict(self.golden.state)
        self.weight, self.bias = state.pop('head.weight'), state.pop('head.bias')
        self.model.load_state_dict(state)

    def logits(self, x):
        return self.model(x)[0].mean((2, 3)) @ self.weight.T + self.bias


@pytest.mark.parametrize('name', GOLDEN)
def test_parity_with_the_official_outputs(name):
    official = Official(name)
    golden, model = official.golden, official.model
    seen = {}
    model.stem.register_forward_hook(lambda _, x, y: seen.update(tokens=y))
    for i, stage in enumerate(model.stages):
        if i:
            stage.merge.register_forward_hook(
                lambda _, x, y, key=f'layer{i - 1}': seen.update({key: y})
            )
        for j, block in enumerate(stage.blocks):
            block.register_forward_hook(
                lambda _, x, y, key=f'layer{i}_block{j}': seen.update({key: y})
            )
    x = golden.input.requires_grad_()
    (out,) = model(x)
    logits = official.logits(x)
    (logits * draw_normal(logits.shape, seed=1)).sum().backward()
    last = len(model.stages) - 1
    seen |= {
        f'layer{last}': seen[f'layer{last}_block{len(model.stages[-1].blocks) - 1}'],
        'norm': out.flatten(2).transpose(1, 2),
        'pooled': out.mean((2, 3)),
        'logits': logits,
        'grad/input': x.grad,
    }
    assert seen.keys() == golden.expected.keys()
    for key, value in seen.items():
        assert golden.error(key, value) <= 1e-5, key


@pytest.mark.parametrize(
    'mistake',
    [
        lambda sides, sigma: torch.zeros(math.prod(sides)),
        lambda sides, sigma: flat_gaussian(sides, 2 * sigma),
        lambda sides, sigma: spatial_gaussian(sides, [side // 2 for side in sides], sigma),
    ],
    ids=['no Gaussian', 'wider', 'round'],
)
def test_parity_would_notice_another_gaussian(mistake, monkeypatch):
    official = Official('lsga_ip_strong')
    monkeypatch.setattr(lsga_vit, 'flat_gaussian', mistake)
    with torch.no_grad():
        assert official.golden.error('logits', official.logits(official.golden.input)) > 1e-4


@pytest.mark.parametrize(
    ('attention', 'parameters'), [('slots', 497_296), ('paper', 449_056), ('self', 507_136)]
)
def test_sizes_of_the_forms_of_attention(attention, parameters):
    """Those of ``lsga.md``, with a classifier of 16 classes, without the unused convolution."""
    with torch.device('meta'):
        model = LSGAViT(attention=attention, position='none')
    assert sum(p.numel() for p in model.parameters()) + 121 * 16 == parameters


@pytest.mark.parametrize('attention', lsga_vit.ATTENTIONS)
def test_attention_is_its_formula(attention):
    """Against products written out, in float64."""
    model = small(attention=attention).double()
    attn, (channels, heads) = model.stages[0].blocks[0].attn, (16, 2)
    x = torch.randn(2, 25, channels, dtype=torch.float64)
    g = torch.exp(-((torch.arange(25) - 12.0) ** 2) / 200).double()
    bias = g[:, None] * g[None]
    context = (bias, (5, 5)) if attention == 'slots' else (bias,)
    got = attn(x, *context)
    if attention == 'slots':
        slots = torch.softmax(torch.einsum('sc,nlc->nsl', attn.slots, x), dim=2)
        x = torch.einsum('nsl,nlc->nsc', slots, x @ attn.value.weight.T)
    if attention == 'self':
        q, k, v = attn.qkv(x).chunk(3, -1)
    else:
        q, k, v = attn.q(x), x, x
    out = []
    for head in range(heads):
        part = slice(8 * head, 8 * head + 8)
        logits = q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5 + bias
        out.append(torch.softmax(logits, -1) @ v[..., part])
    assert torch.allclose(got, attn.proj(torch.cat(out, -1)), rtol=0, atol=1e-12)


def test_the_authors_gaussian_stretches_along_rows():
    """The numbers of ``lsga.md`` for a 9x9 window: seen from the middle, and from a corner."""
    weights = flat_gaussian((9, 9), 10.0)
    middle = torch.outer(weights, weights)[40].view(9, 9)
    assert middle[4, 4] == 1
    assert middle[4, 0] == pytest.approx(0.92, abs=0.005)
    assert middle[3, 4] == pytest.approx(0.67, abs=0.005)
    assert middle[2, 4] == pytest.approx(0.20, abs=0.005)
    assert torch.outer(weights, weights)[0].max() < 4e-4


@pytest.mark.parametrize(
    ('sides', 'center'), [((9, 9), (4, 4)), ((8, 6), (4, 3)), ((1, 5), (0, 2))]
)
def test_the_spatial_gaussian_is_round(sides, center):
    weights = spatial_gaussian(sides, center, 2.5).view(sides)
    for row in range(sides[0]):
        for column in range(sides[1]):
            square = (row - center[0]) ** 2 + (column - center[1]) ** 2
            assert weights[row, column] == pytest.approx(math.exp(-square / 12.5), rel=1e-6)


@pytest.mark.parametrize('window', [5, 8, 11, 25, (7, 4)])
def test_windows_and_bands_of_any_size(window):
    """The labelled pixel stands in the same place for each of them, also after merging."""
    sides = (window, window) if isinstance(window, int) else window
    model = small(
        in_channels=11, window_size=window, position='spatial', out_type='center_featmap', **STAGES
    )
    x = torch.randn(2, 11, *sides)
    seen = []
    for stage in model.stages:
        stage.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    (out,) = model(x)
    assert out.shape == (2, 64)
    row, column = sides[0] // 2, sides[1] // 2
    assert seen == [(row >> i, column >> i) for i in range(3)]


def test_the_center_token_is_the_labelled_pixels():
    feature = small(position='spatial', window_size=6)
    center = small(position='spatial', window_size=6, out_type='center_featmap')
    x = torch.randn(2, 6, 6, 6)
    assert torch.equal(center(x)[0], feature(x)[0][:, :, 3, 3])
    mean = small(position='spatial', window_size=6, out_type='avg_featmap')
    assert torch.allclose(mean(x)[0], feature(x)[0].mean((2, 3)), atol=1e-6)


def test_sigma_counts_pixels_of_the_input():
    model = small(position='spatial', sigma=4.0, **STAGES)
    assert [stage.sigma for stage in model.stages] == [4, 2, 1]
    assert [stage.sigma for stage in small(window_size=9, **STAGES).stages] == [10, 10, 10]
    # two pixels apart in the first map are one apart in the second
    first = spatial_gaussian((5, 5), (2, 2), 4.0).view(5, 5)[2, 4]
    assert first == spatial_gaussian((3, 3), (1, 1), 2.0).view(3, 3)[1, 2]


def test_another_window_at_run_time():
    """Slots are resized; without any, and at the size that they are made for, nothing is."""
    x = torch.randn(1, 6, 7, 7)
    for attention in lsga_vit.ATTENTIONS:
        model = small(attention=attention)
        assert model(x)[0].shape == (1, 16, 7, 7)
    model = small(attention='slots')
    slots = model.stages[0].blocks[0].attn.slots
    assert torch.equal(lsga_vit.resize_slots(slots, (5, 5), (5, 5)), slots)
    constant = torch.ones(25, 3)
    assert torch.allclose(lsga_vit.resize_slots(constant, (5, 5), (7, 4)), torch.ones(28, 3))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'window_size': 8}, "position='flat' is for odd windows, but a map of 8x8"),
        ({'window_size': 7, **STAGES}, 'a map of 4x4'),
        ({'window_size': 0}, 'window_size'),
        ({'window_size': 'nine'}, 'window_size'),
        ({'window_size': (9, 9, 9)}, 'window_size'),
        ({'attention': 'light'}, "must be one of .'slots', 'paper', 'self'"),
        ({'position': 'round'}, "must be one of .'flat', 'spatial', 'none'"),
        ({'out_type': 'cls_token'}, "must be one of .'featmap'"),
        ({'out_type': 'avg_featmap', 'out_indices': (0,), **STAGES}, 'last stage'),
        ({'num_heads': (3,)}, 'multiples'),
        ({'num_heads': (2, 2)}, '1 positive integers, one for each stage'),
        ({'depths': ()}, 'depths=.* must be positive integers'),
        ({'depths': (0,)}, 'depths=.* must be positive integers'),
        ({'sigma': 0}, 'positive'),
        ({'mlp_ratio': -1}, 'positive'),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_flat_position_refuses_even_windows_at_run_time():
    with pytest.raises(ValueError, match='odd windows'):
        small()(torch.randn(1, 6, 6, 5))
    assert small(allow_off_center=True)(torch.randn(1, 6, 6, 5))[0].shape == (1, 16, 6, 5)


def test_other_bands_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r'\(2, 7, 5, 5\), but \(N, 6, H, W\)'):
        small()(torch.randn(2, 7, 5, 5))


@pytest.mark.parametrize('name', GOLDEN)
def test_official_files_come_back_bit_for_bit(name, log):
    golden = Golden(name)
    official = golden.state
    model = LSGAViT(**GOLDEN[name])
    model.load_state_dict({k: v for k, v in official.items() if not k.startswith('head.')})
    assert 'layout: official LSGA-ViT; left out, since the network never reads' in log()[-1]
    assert 'patch_embed.proj.weight' in log()[-1] and ' 0 unexpected' in log()[-1]
    assert not any('proj.weight' in key and 'patch' in key for key in model.state_dict())
    back, _ = convert_state(model.state_dict(), 'official')
    for key, value in official.items():
        if key.startswith('patch_embed.proj'):  # read by nothing, so zeros do
            assert back.pop(key).shape == value.shape
        elif key.endswith('gauss_pos_index'):
            assert torch.equal(back.pop(key), gaussian(value.shape[0]))
        elif not key.startswith('head.'):
            assert torch.equal(back.pop(key), value), key
    assert not back


def test_the_converters_gaussian_is_the_models():
    for side in (8, 9):
        weights = flat_gaussian((side, side), 10.0)
        assert torch.equal(gaussian(side**2), torch.outer(weights, weights))


def test_an_official_file_loads_into_a_classifier(tmp_path):
    """Bare, with its classifier; as ``init_cfg`` and through the tool."""
    golden = Golden('lsga_ip_strong')
    torch.save({'state_dict': golden.state}, tmp_path / 'official.pth')
    backbone = {'type': 'mmvit_plugins.LSGAViT', 'out_type': 'avg_featmap'}
    model = PRETRAIN.build(hosts.classifier(backbone, 120, num_classes=16, pooled=False)).eval()
    model.load_state_dict(torch.load(tmp_path / 'official.pth')['state_dict'])
    assert golden.error('logits', model.head(model.extract_feat(golden.input))) <= 1e-5

    backbone['init_cfg'] = {'type': 'Pretrained', 'checkpoint': str(tmp_path / 'official.pth')}
    other = PRETRAIN.build(hosts.classifier(backbone, 120, num_classes=16, pooled=False)).eval()
    other.init_weights()
    assert equal(other.backbone.state_dict(), model.backbone.state_dict())

    report = convert_file(tmp_path / 'official.pth', tmp_path / 'ours.pth')
    assert "in_channels=36, window_size=9, embed_dims=120, depths=(2,), attention='slots'" in report
    convert_file(tmp_path / 'ours.pth', tmp_path / 'back.pth', 'official')
    back = torch.load(tmp_path / 'back.pth')['state_dict']
    assert torch.equal(back['head.weight'], golden.state['head.weight'])


def test_a_file_that_does_not_fit_says_what_it_holds():
    state = small(in_channels=8, depths=(3,)).state_dict()
    expected = "set in_channels=8, window_size=5, embed_dims=16, depths=.3,., attention='slots'"
    with pytest.raises(CheckpointMismatchError, match=expected):
        small().load_state_dict(state)
    with pytest.raises(CheckpointMismatchError, match="attention='paper'"):
        small().load_state_dict(small(attention='paper').state_dict())
    with pytest.raises(CheckpointMismatchError, match='missing'):
        small().load_state_dict({k: v for k, v in small().state_dict().items() if 'fc1' not in k})
    with pytest.raises(ValueError, match="no other attention than 'slots'"):
        convert_state(small(attention='paper').state_dict(), 'official')


def test_a_file_without_blocks_is_not_converted(tmp_path):
    state = Golden('lsga_ip_strong').state
    stem = {key: value for key, value in state.items() if key.startswith('patch_embed.')}
    torch.save(stem, tmp_path / 'stem.pth')
    with pytest.raises(CheckpointMismatchError, match='a part of LSGAViT that tells no variant'):
        convert_file(tmp_path / 'stem.pth', tmp_path / 'ours.pth')


def test_slots_of_another_window_are_resized(log):
    model = small(window_size=7)
    model.load_state_dict(small(window_size=5).state_dict())
    assert '2 resized' in log()[-1]
    expected = lsga_vit.resize_slots(small().stages[0].blocks[0].attn.slots, (5, 5), (7, 7))
    assert torch.equal(model.stages[0].blocks[0].attn.slots, expected)


def test_deploy_keeps_the_outputs():
    model = small(**STAGES, position='spatial')
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 6, 5, 5)
    expected = model(x)[0]
    model.switch_to_deploy()
    assert not any('Norm3d' in type(m).__name__ for m in model.modules())
    assert torch.allclose(model(x)[0], expected, atol=1e-5)
