"""Settings that do not exist, types that do not, numbers that cannot be; good ones stay good."""

from pathlib import Path

import mmpretrain
import mmseg
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmvit_plugins.config import (
    TEST,
    TRAIN,
    VALIDATE,
    check_classes,
    check_run,
    check_training,
    explained,
    load_config,
)
from mmvit_plugins.config.numbers import check_model
from mmvit_plugins.config.registries import is_slip
from mmvit_plugins.config.signatures import parameters
from mmvit_plugins.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ALL = {*TRAIN, *VALIDATE, *TEST}
DIGITS = str(ROOT / 'configs/afformer/afformer_tiny_digits.py')
SYNTHETIC = str(ROOT / 'configs/lsga/lsga_synthetic.py')
DETECTION = str(ROOT / 'configs/detection/afformer_tiny_retinanet_digits.py')


def check(options, config=DIGITS):
    check_training(load_config(config, options, ALL))


@pytest.mark.parametrize(
    ('path', 'value', 'words'),
    [
        ('trian_cfg.max_iters', 2, 'did you mean train_cfg.max_iters?'),
        ('modl.backbone.arch', 'base', 'did you mean model.backbone.arch?'),
        ('batch_size', 16, 'did you mean train_dataloader.batch_size'),
        ('lr', 0.1, 'did you mean optim_wrapper.optimizer.lr?'),
        ('data_root', '/x', 'data_root is a variable .* set train_dataloader.dataset.data_root or'),
        ('data_preprocessor.size', 3, 'set model.data_preprocessor.size'),
        ('custom_imports.imports', ['x'], 'when the file is read'),
        ('param_scheduler.7.begin', 0, 'param_scheduler has no entry 7; its entries are 0 to 1'),
        ('param_scheduler.begin', 0, 'is a list, give a number of it, as param_scheduler.0.begin'),
        ('train_cfg.max_iters.x', 3, 'train_cfg.max_iters is 1000'),
        ('model..x', 3, 'a name is empty'),
        ('train_cfg', 'none', 'it is a dict'),
        ('model.test_cfg.mod', 'slide', 'did you mean mode?'),
        # what classes take
        ('model.backbone.archh', 'tiny', 'AFFormer has no such setting, did you mean arch?'),
        ('model.decode_head.num_clases', 2, 'did you mean num_classes?'),
        ('optim_wrapper.optimizer.lrr', 0.1, 'did you mean lr?'),
        ('optim_wrapper.clip_grd.max_norm', 1, 'did you mean clip_grad?'),
        ('optim_wrapper.paramwise_cfg.norm_decay', 0, 'did you mean norm_decay_mult?'),
        ('param_scheduler.0.start_facto', 0.1, 'did you mean start_factor?'),
        ('train_dataloader.dataset.data_rot', '/x', 'did you mean data_root?'),
        ('train_dataloader.dataset.pipeline.0.to_flot32', 1, 'did you mean to_float32?'),
        ('train_dataloader.sampler.shufle', 1, 'did you mean shuffle?'),
        ('val_evaluator.iou_metric', 'mIoU', 'did you mean iou_metrics?'),
        ('val_evaluator.x', 1, 'IoUMetric has no such setting'),
        ('model.decode_head.dropout_ratio', 'high', 'AFFormerHead takes no text there'),
        ('model.data_preprocessor.size', 'big', 'takes no text there'),
        # what mmengine reads
        ('train_cfg.max_itres', 4, 'did you mean max_iters?'),
        ('train_dataloader.batchsize', 2, 'did you mean batch_size?'),
        ('randomness.sed', 3, 'did you mean seed?'),
        ('env_cfg.cudnn_benchmrk', True, 'did you mean cudnn_benchmark?'),
        ('env_cfg.x', True, 'nothing reads this setting'),
        ('default_hooks.loger.interval', 2, 'did you mean logger?'),
        ('randomness', None, 'give a dict, or leave it out'),
        # types
        ('model.backbone.type', 'mmvit_plugins.AFFromer', 'mean mmvit_plugins.AFFormer?'),
        ('model.type', 'EncoderDecodr', 'did you mean EncoderDecoder?'),
        ('optim_wrapper.optimizer.type', 'AdammW', 'did you mean AdamW?'),
        ('optim_wrapper.constructor', 'Foo', "no optimizer wrapper constructor 'Foo'"),
        ('custom_hooks.0.type', 'mmvit_plugins.DataChekHook', 'mmvit_plugins.DataCheckHook?'),
        ('train_dataloader.dataset.pipeline.0.type', 'LoadImage', 'mean LoadImageFromFile?'),
        ('default_scope', 'mmsegg', 'did you mean mmseg?'),
        ('default_scope', 'mmpretrain', 'in mmpretrain'),
        # numbers
        ('train_cfg.max_iters', 0, 'from 1 on'),
        ('train_cfg.max_iters', 2.5, 'from 1 on'),
        ('train_cfg.val_interval', 0, 'from 1 on'),
        ('train_dataloader.batch_size', 'two', 'from 1 on'),
        ('train_dataloader.batch_size', 1.5, 'from 1 on'),
        ('val_dataloader.num_workers', -1, 'from 0 on'),
        ('optim_wrapper.optimizer.lr', 'fast', 'lr=.*give a number from 0 on'),
        ('optim_wrapper.optimizer.lr', float('nan'), 'lr=nan: give a number from 0 on'),
        ('randomness.seed', 2**32, 'from 0 to 4294967295'),
        ('default_hooks.checkpoint.interval', 0, 'or -1 for none'),
        ('default_hooks.checkpoint.max_keep_ckpts', -5, '-1 to keep all'),
        ('default_hooks.logger.interval', 0, 'from 1 on'),
        ('log_level', 'LOUD', 'give one of DEBUG, INFO'),
        ('model', None, 'has no dict named "model"'),
        ('model.decode_head.num_classes', 0, 'from 1 on'),
        ('model.backbone.out_indices', [0, 1], 'in_index=3 asks for more maps than the 2'),
        ('model.data_preprocessor.std', [0, 1, 1], 'above 0'),
        # schedules and scores
        ('train_cfg.max_iters', 6, 'begins at 50, but the run ends with max_iters=6'),
        ('param_scheduler.0.begin', 60, 'ends at 50, but begins at 60'),
        ('val_evaluator', None, 'without val_evaluator'),
        ('val_evaluator.iou_metrics', ['mIoo'], 'give mIoU, mDice, mFscore'),
        ('default_hooks.checkpoint.save_best', 'mIuO', 'it has aAcc, mAcc, mIoU'),
    ],
)
def test_what_cannot_be_is_refused(path, value, words):
    with pytest.raises(UserError, match=words) as error:
        check({path: value})
    first, last = path.partition('.')[0], path.rpartition('.')[2]
    assert first in str(error.value) or last in str(error.value) or str(value) in str(error.value)


@pytest.mark.parametrize(
    ('options', 'config'),
    [
        ({}, DIGITS),
        ({}, SYNTHETIC),
        ({}, DETECTION),
        ({'model.backbone.drop_path_rate': 0.1, 'model.pretrained': None}, DIGITS),
        ({'train_cfg.max_iters': 60, 'train_cfg.val_begin': 0}, DIGITS),
        ({'param_scheduler': None, 'train_cfg.max_iters': 2}, DIGITS),
        ({'env_cfg.dist_cfg.timeout': 60, 'randomness.deterministic': True}, DIGITS),
        ({'sync_bn': 'torch', 'find_unused_parameters': True, 'compile': True}, DIGITS),
        ({'optim_wrapper.paramwise_cfg.custom_keys.norm.decay_mult': 0.0}, DIGITS),
        ({'optim_wrapper.clip_grad.max_norm': 1, 'optim_wrapper.type': 'AmpOptimWrapper'}, DIGITS),
        ({'optim_wrapper.optimizer.lr': 0}, DIGITS),
        ({'default_hooks.checkpoint.save_best': 'mIoU', 'custom_hooks.0.priority': 'LOW'}, DIGITS),
        ({'default_hooks.checkpoint.interval': -1, 'default_hooks.timer': None}, DIGITS),
        ({'train_dataloader.dataset.metainfo.names': ['a'], 'model.test_cfg.crop_size': 3}, DIGITS),
        ({'model.backbone': {'type': 'ResNet', 'depth': 18, '_delete_': True}}, DIGITS),
        ({'default_hooks.checkpoint.save_best': 'hsi/AA'}, SYNTHETIC),
        ({'default_hooks.checkpoint.save_best': 'coco/bbox_mAP_50'}, DETECTION),
    ],
)
def test_what_can_be_stays_accepted(options, config):
    check(options, config)


@pytest.mark.parametrize('host', [mmseg, mmpretrain])
def test_configs_of_hosts_stay_accepted(host):
    """Every fortieth of those that need no package that is not here."""
    folder = Path(host.__file__).parent / '.mim/configs'
    paths = [p for p in sorted(folder.rglob('*.py')) if '_base_' not in p.parts]
    paths = [p for p in paths if host is mmseg or p.name.endswith('in1k.py')]
    for path in paths[::40]:
        if 'maskfeat' in path.parts:  # type and by_epoch, of which mmengine's runner takes one
            continue
        cfg = load_config(str(path), parts={*TRAIN, *VALIDATE})
        assert cfg.model


def test_own_configs_stay_accepted():
    paths = [p for p in sorted((ROOT / 'configs').rglob('*.py')) if '_base_' not in p.parts]
    for path in paths:
        cfg = load_config(str(path), parts=ALL)
        if cfg.get('train_dataloader'):
            check_training(cfg)
        check_run(cfg, 'test') if cfg.get('test_dataloader') else None


def test_slips_in_the_file_are_refused_and_variables_are_not(tmp_path):
    path = tmp_path / 'a.py'
    start = f"_base_ = '{DIGITS}'\n"
    path.write_text(start + 'trian_cfg = dict(max_iters=3)\n')
    with pytest.raises(UserError, match='nothing reads trian_cfg, did you mean train_cfg?'):
        load_config(str(path))
    path.write_text(start + 'train_cgf = dict(max_iters=300)\ntrain_cfg = train_cgf\nmine = 1\n')
    assert load_config(str(path), {'mine': 2}).mine == 2
    path.write_text(start + 'default_hooks = dict(loger=dict(interval=3))\n')
    with pytest.raises(UserError, match='did you mean logger?'):
        load_config(str(path), parts=TRAIN)
    load_config(str(path))  # who builds no hooks reads none


def test_a_class_of_someone_else_reads_its_settings_as_it_likes(tmp_path):
    @MODELS.register_module(force=True)
    class Their:
        def __init__(self, backbone, **kwargs):
            self.kwargs = kwargs

    path = tmp_path / 'a.py'
    path.write_text("model = dict(type='Their', backbone=dict(type='x', y=2), anything=3)\n")
    assert load_config(str(path)).model.anything == 3
    MODELS.module_dict.pop('Their')


def test_parameters_follow_the_keywords_up():
    class Root:
        def __init__(self, a, *, b=1):
            pass

    class Up(Root):
        def __init__(self, c, **kwargs):
            kwargs.pop('d', None)
            super().__init__(**kwargs)

    class Swallows(Root):
        def __init__(self, c, **kwargs):
            super().__init__(c)

    class Keeps(Root):
        def __init__(self, c, **kwargs):
            self.rest = kwargs

    class Skips(Swallows):
        def __init__(self, e, **kwargs):
            super(Swallows, self).__init__(**kwargs)

    assert parameters(Up).names.keys() == {'a', 'b', 'c', 'd'}
    assert parameters(Up).strict
    assert parameters(Swallows).names.keys() == {'c'}
    assert not parameters(Swallows).strict
    assert parameters(Keeps).is_open
    assert parameters(Skips).names.keys() == {'a', 'b', 'e'}


def test_slips():
    assert is_slip('trian_cfg', 'train_cfg')
    assert is_slip('resum', 'resume')
    assert not is_slip('test_pipeline', 'tta_pipeline')
    assert not is_slip('val_cfg', 'test_cfg')


def test_what_a_class_says_is_told_with_its_place():
    cfg = load_config(DIGITS)
    init_default_scope('mmseg')
    for change, words in (
        (dict(channels=-5), r'model.decode_head \(AFFormerHead\) cannot be built .* dimension -5'),
        (dict(norm_cfg=dict(type='BNN')), "there is no layer 'BNN', did you mean BN?"),
        (dict(loss_decode=dict(type='Foo')), "model.decode_head.loss_decode: .*no model 'Foo'"),
        (dict(loss_decode=dict(type='CrossEntropyLoss', x=1)), r'\(CrossEntropyLoss\) takes no x'),
    ):
        one = Config(
            {**cfg._cfg_dict, 'model': {**cfg.model, 'decode_head': dict(cfg.model.decode_head)}}
        )
        one.model.decode_head.update(change)
        with pytest.raises(UserError, match=words), explained(one):
            MODELS.build(one.model)
    with pytest.raises(ZeroDivisionError), explained(cfg):  # nothing was built
        1 / 0  # noqa: B018
    with pytest.raises(ValueError, match="^AFFormer: arch='x' is unknown"), explained(cfg):
        MODELS.build(dict(type='mmvit_plugins.AFFormer', arch='x'))


@pytest.mark.parametrize('own', [True, False])
def test_classes_of_heads_against_those_of_the_data(own):
    class Data:
        METAINFO = {} if own else {'classes': ('a', 'b', 'c')}
        metainfo = {'classes': ('a', 'b', 'c')}

    def cfg(count):
        return Config(dict(model=dict(decode_head=dict(num_classes=count))))

    check_classes(cfg(3), Data())
    check_classes(cfg(4), Data())
    if own:
        with pytest.raises(UserError, match=r'have 3 classes \(a, b, c\): give 3'):
            check_classes(cfg(2), Data())
    else:
        check_classes(cfg(2), Data())


def test_a_missing_writer_is_told():
    cfg = load_config(DIGITS, {'visualizer.vis_backends.0.type': 'TensorboardVisBackend'}, ALL)
    with pytest.raises(UserError, match='needs tensorboard, which is not installed: pip install'):
        check_run(cfg, 'test')


def test_numbers_of_a_model_alone():
    check_model(Config(dict(model=None)))
    check_model(Config(dict(model=dict(type='X', head=dict(num_classes=None)))))
