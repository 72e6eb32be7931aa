"""tools/train.py and tools/test.py as users call them: options, resuming, and wrong input."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

pytest.importorskip('mmseg')


def last(done) -> str:
    """The last thing that the tool said."""
    assert 'Traceback' not in done.stderr.strip().splitlines()[-1]
    return done.stderr.strip().splitlines()[-1]


def scalars(work: Path) -> list[dict]:
    """What the newest run in a work directory logged."""
    file = max(work.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for line in file.read_text().splitlines()]


def losses(work: Path) -> dict[int, float]:
    return {entry['iter']: entry['loss'] for entry in scalars(work) if 'loss' in entry}


@pytest.mark.slow
def test_train_resume_test(call, run, miniature, tmp_path):
    """The default work dir, resuming with the same losses as without a stop, and evaluation."""
    first = call('train.py', miniature, '--cfg-options', 'train_cfg.max_iters=8')
    assert first.returncode == 0, first.stderr
    work = tmp_path / 'work_dirs/miniature'
    whole = losses(work)
    assert list(whole) == list(range(1, 9))
    for number in (6, 8):  # as if stopped after iteration 5, and while iteration 4 was being noted
        (work / f'iter_{number}.pth').unlink()
    (work / 'last_checkpoint').write_text('')
    again = run('train.py', miniature, '--resume', '--cfg-options', 'train_cfg.max_iters=8')
    assert again.returncode == 0, again.stderr
    assert 'resuming from' in again.stdout + again.stderr
    assert losses(work) == {k: whole[k] for k in (5, 6, 7, 8)}

    named = run(
        'train.py', miniature, '--work-dir', 'other', '--resume', work / 'iter_6.pth',
        '--no-validate', '--cfg-options', 'train_cfg.max_iters=8',
    )  # fmt: skip
    assert named.returncode == 0, named.stderr
    assert losses(tmp_path / 'other') == {k: whole[k] for k in (7, 8)}
    assert not any('mIoU' in entry for entry in scalars(tmp_path / 'other'))
    assert any('mIoU' in entry for entry in scalars(work))

    tested = run(
        'test.py', miniature, work / 'iter_8.pth', '--tta', '--amp', '--show-dir', 'shown',
        '--out', 'metrics.json', '--out-item', 'metrics', '--work-dir', 'tested',
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr
    assert set(json.loads((tmp_path / 'metrics.json').read_text())) == {'aAcc', 'mIoU', 'mAcc'}
    assert len(list((tmp_path / 'shown').rglob('*.png'))) == 8


def test_resume_without_a_checkpoint_starts_from_the_beginning(run, miniature, tmp_path):
    done = run('train.py', miniature, '--work-dir', 'w', '--resume', '--no-validate')
    assert done.returncode == 0, done.stderr
    assert 'no checkpoint in w: training starts from the beginning' in done.stdout + done.stderr
    assert list(losses(tmp_path / 'w')) == [1, 2, 3, 4]


@pytest.mark.slow
def test_options_reach_the_runner(run, miniature, tmp_path):
    """--amp is bfloat16 on a CPU, --auto-scale-lr scales, the loaders obey, as seen in what ran."""
    done = run(
        'train.py', miniature, '--work-dir', 'w', '--amp', '--auto-scale-lr', '--no-pin-memory',
        '--no-persistent-workers', '--no-validate', '--cfg-options',
        'auto_scale_lr.base_batch_size=16',
        'param_scheduler=None', 'train_dataloader.num_workers=1',
        'train_dataloader.persistent_workers=True', 'train_dataloader.pin_memory=True',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {entry['lr'] for entry in scalars(tmp_path / 'w') if 'lr' in entry} == {0.05 * 4 / 16}
    cfg = Config.fromfile(tmp_path / 'w/miniature.py')
    assert not cfg.train_dataloader.pin_memory
    assert not cfg.train_dataloader.persistent_workers
    if not torch.cuda.is_available():
        assert cfg.optim_wrapper.type == 'CPUAmpOptimWrapper'
        plain = run('train.py', miniature, '--work-dir', 'p', '--no-validate', '--cfg-options',
                    'optim_wrapper.optimizer.lr=0.0125', 'param_scheduler=None')  # fmt: skip
        assert plain.returncode == 0, plain.stderr
        half, full = losses(tmp_path / 'w'), losses(tmp_path / 'p')
        np.testing.assert_allclose(list(half.values()), list(full.values()), rtol=3e-2)
        assert half != full


def empty(data: Path) -> None:
    for picture in (data / 'images/training').iterdir():
        picture.unlink()


def annotation(data: Path) -> None:
    (data / 'annotations/training/5.png').unlink()


def garbage(data: Path) -> None:
    for picture in (data / 'images/training').iterdir():
        picture.write_bytes(b'no picture')


def label(data: Path) -> None:
    for path in (data / 'annotations/training').iterdir():
        Image.fromarray(np.full((64, 64), 7, np.uint8)).save(path)


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (
            empty,
            r'the data set \(BaseSegDataset\) is empty: nothing found in .*images/training that',
        ),
        (annotation, r'the train data set lacks 1 of 8 annotation files, the first is .*/5\.png'),
        (
            garbage,
            r'8 of 8 pictures of the train .* cannot be read, the first is .*training/0\.jpg',
        ),
        (label, r'training/\d\.png holds label 7 \(4096 pixels\), allowed are 0 to 2 and 255'),
    ],
)
def test_bad_data_give_one_sentence(run, miniature, tmp_path, damage, words, workers):
    damage(tmp_path / 'data')
    done = run(
        'train.py', miniature, '--work-dir', 'w', '--cfg-options',
        f'train_dataloader.num_workers={workers}',
    )  # fmt: skip
    assert done.returncode == 2
    assert re.search(f'^error: .*{words}', last(done)), last(done)


@pytest.mark.parametrize(
    ('tool', 'arguments', 'words'),
    [
        ('train.py', ['nix.py'], 'the config nix.py does not exist'),
        ('train.py', ['miniature.py', '--auto-scale-lr'], 'has no auto_scale_lr: add'),
        ('train.py', ['miniature.py', '--resume', 'nix.pth'], 'nix.pth'),
        ('train.py', ['miniature.py', '--cfg-options', 'load_from=miniature.py'], 'begins with'),
        (
            'train.py',
            ['miniature.py', '--cfg-options', 'model.backbone.arch=x'],
            "arch='x' is unknown",
        ),
        (
            'train.py',
            ['miniature.py', '--cfg-options', 'train_dataloader.dataset.data_root=nix'],
            'no such file or folder: nix/images/training',
        ),
        (
            'train.py',
            ['miniature.py', '--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper'],
            'the config has ApexOptimWrapper',
        ),
        ('test.py', ['miniature.py', 'nix.pth'], 'there is no such checkpoint file'),
        ('test.py', ['miniature.py', 'empty.pth'], 'is empty'),
        ('test.py', ['miniature.py', 'cut.pth'], 'truncated'),
        ('test.py', ['miniature.py', 'numbers.pth'], 'without weights'),
        ('test.py', ['miniature.py', 'x.pth', '--out-item', 'pred'], 'give both'),
        (
            'test.py',
            ['miniature.py', 'good.pth', '--tta', '--cfg-options', 'tta_model=None'],
            '--tta needs',
        ),
        (
            'test.py',
            [
                'miniature.py',
                'good.pth',
                '--show',
                '--cfg-options',
                'default_hooks.visualization=None',
            ],
            'default_hooks.visualization=None',
        ),
    ],
)
def test_wrong_arguments_give_one_sentence(run, miniature, tmp_path, tool, arguments, words):
    (tmp_path / 'empty.pth').touch()
    torch.save({'state_dict': {'weight': torch.ones(2)}}, tmp_path / 'good.pth')
    (tmp_path / 'cut.pth').write_bytes((tmp_path / 'good.pth').read_bytes()[:400])
    torch.save([1, 2], tmp_path / 'numbers.pth')
    done = run(tool, *arguments, *([] if '--cfg-options' in arguments else ['--work-dir', 'w']))
    assert done.returncode == 2
    assert last(done).startswith('error: ')
    assert words in last(done)


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('mgff_swin-base_cub', 'CUB (train) needs images.txt, image_class_labels.txt, '),
        ('mgff_swin-base_nabirds', 'NABirds (train) needs images.txt, image_class_labels.txt, '),
        ('mgff_swin-base_cars', 'StanfordCars (train) needs devkit/cars_train_annos.mat, '),
        ('two-stage_mgff_swin-base_pets', 'needs annotations/trainval.txt, images/ in '),
    ],
)
def test_data_that_are_not_there_are_described(run, repo_root, name, words):
    pytest.importorskip('mmpretrain')
    done = run('train.py', repo_root / f'configs/mgff/{name}-384.py')
    assert done.returncode == 2
    assert last(done).startswith('error: ')
    assert words in last(done)
    assert 'a folder that is not there; put them there or set data_root' in last(done)


CLASSIFIER = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmvit_plugins'], allow_failed_imports=False)
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmvit_plugins.AFFormer', out_indices=(3,),
        arch=dict(embed_dims=(16, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=2, mlp_ratio=2,
                  windows={3: 1, 5: 1})),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16,
              loss=dict(type='CrossEntropyLoss')),
    data_preprocessor=dict(num_classes=2, mean=[128.0] * 3, std=[64.0] * 3, to_rgb=True))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root='pictures', pipeline=[
        dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
val_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=train_dataloader['dataset'])
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(
    checkpoint=dict(type='mmvit_plugins.CheckpointHook', interval=1),
    visualization=dict(type='VisualizationHook', enable=False))
custom_hooks = [dict(type='mmvit_plugins.DataCheckHook')]
"""


def test_annotations_of_a_detector_are_checked_before_anything_is_built(run, tmp_path):
    """Nothing of the model is looked at but its settings."""
    pytest.importorskip('mmdet')
    (tmp_path / 'det.py').write_text(
        "default_scope = 'mmdet'\n"
        "model = dict(type='RetinaNet')\n"
        'train_cfg = dict(by_epoch=True, max_epochs=1)\n'
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01))\n"
        'train_dataloader = dict(dataset=dict(\n'
        "    type='mmdet.CocoDataset', data_root='data', ann_file='boxes.json'))\n"
    )
    done = run('train.py', 'det.py', '--work-dir', 'w')
    assert done.returncode == 2
    assert last(done).startswith('error: there is no annotation file data/boxes.json: put it there')


def test_the_same_tools_train_and_test_a_classifier(run, tmp_path, make_scenes):
    """mmpretrain's own defaults are set too: stacked batches, flips as test-time augmentation."""
    pytest.importorskip('mmpretrain')
    (tmp_path / 'cls.py').write_text(CLASSIFIER)
    pictures = sorted((make_scenes(4) / 'images/training').iterdir())
    for index, path in enumerate(pictures):
        folder = tmp_path / 'pictures' / f'class_{index % 2}'
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    done = run('train.py', 'cls.py', '--work-dir', 'w')
    assert done.returncode == 0, done.stderr
    tested = ['test.py', 'cls.py', tmp_path / 'w/epoch_1.pth', '--work-dir', 'w']
    done = run(*tested, '--tta', '--out', 'predictions.pkl')
    assert done.returncode == 0, done.stderr
    done = run(*tested, '--show-dir', 'shown')
    assert done.returncode == 0, done.stderr
    done = run(*tested, '--show-dir', 'shown', '--tta')
    assert done.returncode == 2
    assert 'cannot draw with --tta' in last(done)
    done = run(*tested, '--out', 'x.json')
    assert done.returncode == 2
    assert '--out x.json: predictions go into one file, named .pkl or .pickle' in last(done)
    done = run(*tested, '--out', 'x.csv', '--out-item', 'metrics')
    assert done.returncode == 2 and 'scores go into one file, named .json' in last(done)
    with open(tmp_path / 'predictions.pkl', 'rb') as file:
        predictions = pickle.load(file)
    assert [tuple(entry['pred_score'].shape) for entry in predictions] == [(2,)] * 4
    assert len(list((tmp_path / 'shown').iterdir())) == 4
    for path in pictures:
        next((tmp_path / 'pictures').glob(f'*/{path.name}')).unlink()
    done = run('train.py', 'cls.py', '--work-dir', 'w')
    assert done.returncode == 2 and 'w holds checkpoints of another run' in last(done)
    done = run('train.py', 'cls.py', '--work-dir', 'another')
    assert done.returncode == 2
    assert 'data set (CustomDataset) is empty: nothing found in pictures' in last(done)


def test_augmentation_reaches_data_sets_inside_of_others(run, miniature, tmp_path, monkeypatch):
    """Two parts joined, one of them repeated: all pictures are seen both ways."""
    from mmseg.models import SegTTAModel

    views = []
    merge = SegTTAModel.merge_preds

    def count(self, samples):
        views.extend(len(views) for views in samples)
        return merge(self, samples)

    monkeypatch.setattr(SegTTAModel, 'merge_preds', count)
    miniature.write_text(
        miniature.read_text().replace(
            'test_dataloader = val_dataloader',
            "part = val_dataloader['dataset']\n"
            "test_dataloader = {**val_dataloader, 'dataset': dict(type='ConcatDataset', datasets=["
            "part, dict(type='RepeatDataset', times=2, dataset=part)])}",
        )
    )
    done = run('train.py', miniature, '--no-validate', '--cfg-options', 'train_cfg.max_iters=2')
    assert done.returncode == 0, done.stderr
    done = run('test.py', miniature, tmp_path / 'work_dirs/miniature/iter_2.pth', '--tta')
    assert done.returncode == 0, done.stderr
    assert views == [2] * 24


FAILS_LATE = {
    'model.decode_head.in_channels=7': 'the first iteration fails in ConvModule: RuntimeError',
    'optim_wrapper.optimizer=None': 'the run fails in build_optim_wrapper',
    'train_dataloader.dataset.pipeline.0={"type":"RandomCrop","crop_size":(0,0)}': (
        'train_dataloader.dataset.pipeline.0 (RandomCrop) cannot be built with these settings'
    ),
    'model.test_cfg.mode=slide': 'the first validation fails in EncoderDecoder',
}


@pytest.mark.parametrize('option', FAILS_LATE)
def test_settings_that_do_not_fit_each_other_are_a_sentence(option, run, miniature):
    done = run('train.py', miniature, '--cfg-options', option)
    assert done.returncode == 2
    assert last(done).startswith(f'error: {FAILS_LATE[option]}')
    assert 'MMVIT_TRACEBACK=1' in last(done)


def test_what_fails_after_it_has_worked_is_the_programs(run, miniature, monkeypatch):
    """A fault in the third iteration keeps its traceback."""
    calls = iter(range(3))
    monkeypatch.setattr(
        'mmseg.models.EncoderDecoder.loss', lambda *_: {'loss': 1 / (2 - next(calls)) * TENSOR}
    )
    with pytest.raises(ZeroDivisionError):
        run('train.py', miniature, '--no-validate')


TENSOR = torch.ones(1, requires_grad=True)
