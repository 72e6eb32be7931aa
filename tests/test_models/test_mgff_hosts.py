"""MGFF behind every backbone, ours and the hosts', in models that the hosts build and train."""

import hosts
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope, Registry
from mmengine.structures import PixelData
from mmpretrain.registry import MODELS as PRETRAIN
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS as SEG
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules

from mmvit_plugins.models import MGFF
from mmvit_plugins.registry import MODELS

register_all_modules()

CLASSES = 3
SWIN = {'depths': (1, 1, 1, 1), 'num_heads': (1, 2, 2, 4)}
# Backbone, channels and strides of its maps, side of the pictures
BACKBONES = {
    'AFFormer': (
        {
            'type': 'mmvit_plugins.AFFormer',
            'arch': {
                'embed_dims': (8, 16, 16, 24),
                'depths': (1, 1, 2, 1),
                'num_heads': 8,
                'mlp_ratio': 2,
                'windows': {3: 2, 5: 3, 7: 3},
            },
        },
        (16, 16, 24, 24),
        (4, 8, 8, 8),
        64,
    ),
    'SGFormer': (
        {
            'type': 'mmvit_plugins.SGFormer',
            'arch': {
                'embed_dims': (8, 16, 16, 24),
                'num_heads': (2, 2, 4, 3),
                'depths': (2, 2, 2, 1),
                'mlp_ratio': 2,
            },
        },
        (8, 16, 16, 24),
        (4, 8, 16, 32),
        64,
    ),
    'SwinTransformer, after merging': (
        {
            'type': 'mmvit_plugins.SwinTransformer',
            'arch': {'embed_dims': 8, 'window_size': 4, **SWIN},
            'out_after_downsample': True,
        },
        (16, 32, 64, 64),
        (8, 16, 32, 32),
        64,
    ),
    'T2TViT': (
        {
            'type': 'mmvit_plugins.T2TViT',
            'arch': {
                'tokens_type': 'performer',
                'block': 'vit',
                'embed_dims': 16,
                'depths': (3,),
                'num_heads': 2,
                'mlp_ratio': 2,
            },
        },
        (64, 64, 16),
        (4, 8, 16),
        64,
    ),
    'LSGAViT': (
        {
            'type': 'mmvit_plugins.LSGAViT',
            'in_channels': 3,
            'embed_dims': 8,
            'depths': (1, 1, 1),
            'num_heads': (2, 2, 4),
            'position': 'spatial',
            'out_indices': (0, 1, 2),
        },
        (8, 16, 32),
        (1, 2, 4),
        12,
    ),
    'ResNet': (
        {
            'type': 'mmpretrain.ResNet',
            'depth': 50,
            'stem_channels': 8,
            'base_channels': 4,
            'out_indices': (0, 1, 2, 3),
        },
        (16, 32, 64, 128),
        (4, 8, 16, 32),
        64,
    ),
    'ConvNeXt': (
        {
            'type': 'mmpretrain.ConvNeXt',
            'arch': {'depths': [1, 1, 1, 1], 'channels': [8, 16, 24, 32]},
            'out_indices': (0, 1, 2, 3),
            'gap_before_final_norm': False,
        },
        (8, 16, 24, 32),
        (4, 8, 16, 32),
        64,
    ),
    "mmpretrain's Swin, after merging": (
        {
            'type': 'mmpretrain.SwinTransformer',
            'arch': {'embed_dims': 8, **SWIN},
            'out_indices': (0, 1, 2, 3),
            'out_after_downsample': True,
            'pad_small_map': True,
        },
        (16, 32, 64, 64),
        (8, 16, 32, 32),
        64,
    ),
    "mmpretrain's plain ViT": (
        {
            'type': 'mmpretrain.VisionTransformer',
            'arch': {
                'embed_dims': 16,
                'num_layers': 4,
                'num_heads': 2,
                'feedforward_channels': 32,
            },
            'img_size': 64,
            'out_indices': (0, 1, 3),
            'out_type': 'featmap',
        },
        (16, 16, 16),
        (16, 16, 16),
        64,
    ),
}


def neck_for(channels, strides, side, **options):
    options = {'grid_size': side // max(strides), 'embed_dims': 8, 'num_heads': 2, **options}
    return {'type': 'mmvit_plugins.MGFF', 'in_channels': channels, 'strides': strides, **options}


@pytest.mark.parametrize('name', BACKBONES)
def test_classifier_trains_and_predicts(name):
    """A step of training reaches all of the neck; a picture gets a distribution over classes."""
    torch.manual_seed(0)
    backbone, channels, strides, side = BACKBONES[name]
    cfg = hosts.classifier(backbone, 8, CLASSES)
    cfg['neck'] = neck_for(channels, strides, side)
    model = PRETRAIN.build(cfg)
    model.init_weights()
    assert type(model.neck) is MGFF
    x = torch.randn(2, 3, side, side)
    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    losses = model.train()(x, samples, mode='loss')
    losses['loss'].backward()
    for parameter in (*model.neck.parameters(), *model.head.parameters()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    stem = next(p for p in model.backbone.parameters() if p.requires_grad)
    assert stem.grad.abs().max() > 0
    predicted = model.eval()(x, samples, mode='predict')
    assert all(p.pred_score.sum().item() == pytest.approx(1, abs=1e-5) for p in predicted)
    maps = model.extract_feat(x, stage='backbone')
    assert tuple(m.shape[2] for m in maps) == tuple(-(-side // s) for s in strides)
    (vector,) = model.extract_feat(x, stage='neck')
    assert vector.shape == (2, 8) and torch.allclose(vector, model.neck(maps)[0], atol=1e-6)


@pytest.mark.parametrize('size', [(80, 64), (50, 44), (64, 128)])
@pytest.mark.parametrize('name', ['ResNet', 'SwinTransformer, after merging'])
def test_pictures_of_other_sizes(name, size):
    backbone, channels, strides, side = BACKBONES[name]
    fixed = neck_for(channels, strides, side)
    free = neck_for(channels, strides, side, grid_size=None, adjacency='similarity', pool='soft')
    network = PRETRAIN.build(backbone)
    network.eval()
    with torch.no_grad():
        maps = network(torch.randn(2, 3, *size))
        for cfg in (fixed, free):
            (vector,) = PRETRAIN.build(cfg).eval()(maps)
            assert vector.shape == (2, 8) and torch.isfinite(vector).all()


HEADS = {
    'FPNHead': {'feature_strides': [4, 8, 16, 32]},
    'UPerHead': {'pool_scales': (1, 2)},
    'SegformerHead': {},
}


@pytest.mark.parametrize('head', HEADS)
@pytest.mark.parametrize('name', ['SGFormer', 'ResNet'])
def test_segmentor_trains_and_predicts(name, head):
    """Maps instead of an FPN's, at the inputs' own sizes; nothing in the neck is left unused."""
    torch.manual_seed(0)
    backbone, channels, strides, side = BACKBONES[name]
    cfg = hosts.segmentor(backbone, (8, 8, 8, 8))
    del cfg['decode_head']['feature_strides']
    cfg['decode_head'] |= {'type': f'mmseg.{head}', 'norm_cfg': {'type': 'BN'}, **HEADS[head]}
    cfg['neck'] = neck_for(channels, strides, side, out_type='maps', out_channels=8)
    model = SEG.build(ConfigDict(cfg))
    model.init_weights()
    x = torch.randn(2, 3, side, 2 * side)
    labels = torch.randint(0, 3, (2, 1, side, 2 * side))
    meta = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), (side, 2 * side))
    samples = [SegDataSample(metainfo=meta, gt_sem_seg=PixelData(data=y)) for y in labels]
    losses = model.train()(x, samples, mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    for parameter in model.neck.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    outs = model.eval()(x, mode='tensor')
    assert outs.shape == (2, 3, side // 4, side // 2)
    predicted = model.predict(x, samples)
    assert predicted[1].pred_sem_seg.data.shape == (1, side, 2 * side)


@pytest.mark.parametrize('registry', [MODELS, PRETRAIN, SEG, ROOT], ids=lambda r: r.scope)
def test_both_spellings_build_in_every_registry(registry):
    for name in ('MGFF', 'mmvit_plugins.MGFF'):
        cfg = {**neck_for((8, 16), (8, 16), 32), 'type': name}
        assert type(registry.build(cfg)) is MGFF


def test_any_host_builds_it():
    """mmdetection, as any other, is another child of mmengine's root."""
    host = Registry('model', parent=ROOT, scope='some_host')
    with DefaultScope.overwrite_default_scope('some_host'):
        for name in ('MGFF', 'mmvit_plugins.MGFF'):
            cfg = {**neck_for((8, 16), (8, 16), 32, out_type='maps', num_outs=4), 'type': name}
            outs = host.build(cfg)((torch.randn(1, 8, 8, 8), torch.randn(1, 16, 4, 4)))
            assert [out.shape[2] for out in outs] == [8, 4, 2, 1]  # as mmdetection's FPN has them
    ROOT.children.pop('some_host')
