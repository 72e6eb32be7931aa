"""The tools on mmdetection's configs: training, testing, pictures, FLOPs, times, checkpoints."""

import json
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from detection import (
    CLASSES,
    COLOURS,
    detection_config,
    make_coco,
    mask_rcnn,
    need_mmdet,
    retinanet,
)
from hosts import equal
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmvit_plugins.converters import CONVERTERS
from mmvit_plugins.registry import MODELS

need_mmdet()


@pytest.fixture
def data(tmp_path) -> Path:
    return make_coco(tmp_path / 'data')


@pytest.fixture
def config(data, tmp_path) -> Path:
    """The config of a small RetinaNet."""
    path = tmp_path / 'retina.py'
    detection_config(retinanet(), data).dump(path)
    return path


@pytest.fixture
def mask_config(data, tmp_path) -> Path:
    """The config of a small Mask R-CNN."""
    path = tmp_path / 'mask.py'
    detection_config(mask_rcnn(), data, epochs=1).dump(path)
    return path


def save_weights(config: Path, path: Path, meta: dict | None = None) -> Path:
    """Write drawn weights of a config's model, which finds boxes of every class at once."""
    from mmdet.apis import init_detector

    model = init_detector(str(config), device='cpu')
    for name, parameter in model.named_parameters():
        if name.startswith(('bbox_head', 'roi_head', 'rpn_head')):
            torch.nn.init.normal_(parameter, std=0.2)
    torch.save({'state_dict': model.state_dict(), 'meta': meta or {}}, path)
    return path


def scalars(work: Path) -> list[dict]:
    file = max(work.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for line in file.read_text().splitlines()]


def losses(work: Path) -> dict[int, float]:
    return {entry['iter']: entry['loss'] for entry in scalars(work) if 'loss' in entry}


def last(done) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_train_resume_test(run, config, tmp_path):
    """Resuming gives the losses of a run without a stop; predictions, pictures and scores come."""
    # mirrored by chance, which a checkpoint does not hold the state of
    options = ('--auto-scale-lr', '--cfg-options', 'train_dataloader.dataset.pipeline.3.prob=0.0')
    done = run('train.py', config, *options)
    assert done.returncode == 0, done.stderr
    work = tmp_path / 'work_dirs/retina'
    whole = losses(work)
    assert list(whole) == [1, 2, 3, 4]
    assert {entry['lr'] for entry in scalars(work) if 'lr' in entry} == {1e-3 * 2 / 16}
    assert any('coco/bbox_mAP' in entry for entry in scalars(work))
    (work / 'epoch_2.pth').unlink()
    done = run('train.py', config, '--resume', *options)
    assert done.returncode == 0, done.stderr
    assert losses(work) == {k: whole[k] for k in (3, 4)}

    weights = save_weights(config, tmp_path / 'drawn.pth')
    done = run(
        'test.py', config, weights, '--out', 'found.pkl', '--show-dir', 'shown', '--work-dir', 'w',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = tmp_path / 'shown'
    assert {path.name for path in tmp_path.rglob('0000*.jpg') if path.parent == shown} == {
        f'{index:012d}.jpg' for index in range(4)
    }
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())
    assert len(found) == 4 and 'gt_instances' not in found[0]
    assert all(len(entry['pred_instances']['scores']) for entry in found)

    done = run(
        'test.py', config, weights, '--tta', '--work-dir', 'w', '--out', 'twice.pkl',
        '--show-dir', 'twice',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    twice = pickle.loads((tmp_path / 'twice.pkl').read_bytes())
    assert len(twice) == 4 and len(list((tmp_path / 'twice').iterdir())) == 4
    assert max(len(entry['pred_instances']['scores']) for entry in twice) <= 100
    for one, two in zip(found, twice, strict=True):  # boxes that only the mirrored picture has
        boxes = [entry['pred_instances']['bboxes'].round() for entry in (one, two)]
        assert set(map(tuple, boxes[1].tolist())) - set(map(tuple, boxes[0].tolist()))


@pytest.mark.slow
def test_masks_and_bfloat16(run, mask_config, tmp_path):
    """--amp on a CPU: RoIAlign is computed in float32, the rest in bfloat16, losses are close."""
    if torch.cuda.is_available():
        pytest.skip('float16 there')
    options = ('--no-validate', '--work-dir')
    done = run('train.py', mask_config, *options, 'half', '--amp')
    assert done.returncode == 0, done.stderr
    assert Config.fromfile(tmp_path / 'half/mask.py').optim_wrapper.type == 'CPUAmpOptimWrapper'
    done = run('train.py', mask_config, *options, 'full')
    assert done.returncode == 0, done.stderr
    half, full = losses(tmp_path / 'half'), losses(tmp_path / 'full')
    np.testing.assert_allclose(list(half.values()), list(full.values()), rtol=5e-2)
    assert half != full

    weights = save_weights(mask_config, tmp_path / 'drawn.pth')
    tested = ('test.py', mask_config, weights, '--work-dir', 'w')
    done = run(*tested, '--amp', '--out', 'found.pkl')
    assert done.returncode == 0, done.stderr
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())
    assert set(found[0]['pred_instances']['masks'][0]) == {'size', 'counts'}
    done = run(*tested, '--tta')
    assert done.returncode == 2
    assert 'this model predicts masks: leave it out' in last(done)


def test_wrong_arguments_give_one_sentence(run, config, tmp_path):
    torch.save({'state_dict': {'weight': torch.ones(2)}}, tmp_path / 'good.pth')
    tested = ('test.py', config, tmp_path / 'good.pth')
    for options, words in (
        (('--out', 'found.json'), '--out found.json: predictions go into one file'),
        (('--show-dir', 'o', '--interval', 2), "mmdetection's hook draws every picture"),
        (
            ('--show', '--cfg-options', 'default_hooks.visualization=None'),
            'default_hooks.visualization=None: None turns off checkpoint',
        ),
    ):
        done = run(*tested, *options)
        assert done.returncode == 2
        assert last(done).startswith('error: ') and words in last(done)


@pytest.mark.slow
def test_the_hosts_own_tools(run, config, tmp_path):
    import mmdet

    folder = Path(mmdet.__file__).parent / '.mim/tools'
    done = run(folder / 'train.py', config, '--work-dir', 'w')
    assert done.returncode == 0, done.stderr
    assert list(losses(tmp_path / 'w')) == [1, 2, 3, 4]
    done = run(
        folder / 'test.py', config, 'w/epoch_2.pth', '--work-dir', 'w', '--out', 'found.pkl',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(pickle.loads((tmp_path / 'found.pkl').read_bytes())) == 4


@pytest.mark.slow
def test_two_processes(call, config, tmp_path):
    """Over gloo, as one process with the doubled batch: the losses of the first step agree."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    done = call(
        'dist_train.sh', config, 2, '--work-dir', 'two', '--cfg-options',
        'train_dataloader.batch_size=1', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1',
        PORT=port,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(losses(tmp_path / 'two')) == [1, 2]
    assert any('coco/bbox_mAP' in entry for entry in scalars(tmp_path / 'two'))


@pytest.mark.slow
def test_pictures_of_detections(run, config, data, tmp_path):
    """What is listed is what the host finds, above the threshold; the true boxes are the file's."""
    from mmdet.apis import inference_detector, init_detector

    first, second, *_ = sorted((data / 'val2017').iterdir())
    turned = Image.Exif()
    turned[0x0112] = 6  # a camera that was held upright: to be turned back, which the host does
    Image.open(first).transpose(Image.Transpose.ROTATE_90).save(first, exif=turned)
    Image.open(second).convert('L').save(second)
    names = {'dataset_meta': {'classes': ('x', 'y', 'z')}}
    weights = save_weights(config, tmp_path / 'drawn.pth', names)
    done = run('infer.py', config, weights, data / 'val2017', '--out', 'o', '--score-threshold', 0)
    assert done.returncode == 0, done.stderr
    predictions = json.loads((tmp_path / 'o/predictions.json').read_text())
    model = init_detector(str(config), str(weights), device='cpu')
    assert sorted(predictions) == [f'{index:012d}' for index in range(4)]
    for name, entries in predictions.items():
        host = inference_detector(model, str(data / f'val2017/{name}.jpg')).pred_instances
        order = host.scores.argsort(descending=True, stable=True)
        assert len(entries) == len(host) > 10
        np.testing.assert_allclose([e['score'] for e in entries], host.scores[order], atol=1e-6)
        np.testing.assert_allclose([e['bbox'] for e in entries], host.bboxes[order], atol=6e-3)
        assert [e['label'] for e in entries] == host.labels[order].tolist()
        assert {(e['class'], e['label']) for e in entries} <= {('x', 0), ('y', 1), ('z', 2)}

    done = run('test.py', config, weights, '--out', 'tested.pkl')
    assert done.returncode == 0, done.stderr
    with open(tmp_path / 'tested.pkl', 'rb') as file:
        tested = {Path(entry['img_path']).stem: entry for entry in pickle.load(file)}
    for name, entries in predictions.items():
        boxes = tested[name]['pred_instances']
        order = boxes['scores'].argsort(descending=True, stable=True)
        np.testing.assert_allclose([e['bbox'] for e in entries], boxes['bboxes'][order], atol=6e-3)
        assert [e['label'] for e in entries] == boxes['labels'][order].tolist()

    scores = [entry['score'] for entry in predictions['000000000001']]
    middle = sorted(scores)[len(scores) // 2]
    weights = save_weights(config, tmp_path / 'unnamed.pth')
    done = run(
        'infer.py', config, tmp_path / 'drawn.pth', data / 'val2017/000000000001.jpg', '--out', 'p',
        '--score-threshold', middle,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = json.loads((tmp_path / 'p/predictions.json').read_text())['000000000001']
    assert {entry['score'] for entry in entries} == {s for s in scores if s >= middle}

    truth = data / 'annotations/instances_val2017.json'
    done = run(
        'infer.py', config, weights, data / 'val2017', '--out', 't', '--truth', truth,
        '--score-threshold', 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads(truth.read_text())
    for index in range(4):
        pixels = np.asarray(Image.open(tmp_path / f't/{index:012d}.png'))
        assert pixels.shape[1] == 2 * (8 + 4 * 96) + 8
        known = [a for a in content['annotations'] if a['image_id'] == index + 1]
        assert len(known) == 3
        for box in known:  # its lower left corner lies in the first panel, in the class's colour
            x, y, _, h = box['bbox']
            others = [a['bbox'] for a in known if a is not box]
            if not any(u <= x <= u + w and v <= y + h <= v + k for u, v, w, k in others):
                colour = pixels[35 + 4 * (y + h) - 1, 8 + 4 * x + 1]
                assert tuple(colour) == tuple(COLOURS.values())[box['category_id'] // 3]

    dogs = [{**a, 'category_id': 1} for a in content['annotations']]
    (tmp_path / 'other.json').write_text(
        json.dumps({**content, 'annotations': dogs, 'categories': [{'id': 1, 'name': 'dog'}]})
    )
    content['images'] = content['images'][:2]
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] < 3]
    (tmp_path / 'few.json').write_text(json.dumps(content))
    content['images'][0]['width'] = 50
    (tmp_path / 'narrow.json').write_text(json.dumps(content))
    for file, words in (
        ('other.json', "other.json has the categories ['dog'], the model the classes ['red', "),
        ('few.json', 'few.json has no picture of the name 000000000002.jpg'),
        (config, 'is no JSON file'),
        ('nix.json', 'there is no annotation file nix.json'),
    ):
        done = run(
            'infer.py',
            config,
            weights,
            data / 'val2017',
            '--out',
            't',
            '--overwrite',
            '--truth',
            file,
        )
        assert done.returncode == 2
        assert words in last(done)
    done = run(
        'infer.py', config, weights, data / 'val2017/000000000000.jpg', '--out', 't', '--overwrite',
        '--truth', 'narrow.json',
    )  # fmt: skip
    assert 'is 96 wide and 64 high, in the file of the truth 50 and 64' in last(done)
    done = run('infer.py', config, weights, data / 'val2017', '--out', 't', '--score-threshold', 30)
    assert 'score_threshold=30.0: give a number from 0 to 1' in last(done)


@pytest.mark.slow
def test_pictures_of_masks(run, mask_config, data, tmp_path):
    from pycocotools.mask import decode

    weights = save_weights(mask_config, tmp_path / 'drawn.pth')
    done = run(
        'infer.py', mask_config, weights, data / 'val2017', '--out', 'o',
        '--truth', data / 'annotations/instances_val2017.json', '--opacity', 1,
        '--score-threshold', 0,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    entries = json.loads((tmp_path / 'o/predictions.json').read_text())['000000000000']
    assert entries and all(decode(entry['mask']).shape == (64, 96) for entry in entries)
    assert {entry['class'] for entry in entries} <= set(CLASSES)
    content = json.loads((data / 'annotations/instances_val2017.json').read_text())
    seen = 0
    for box in content['annotations']:
        others = [a for a in content['annotations'] if a['image_id'] == box['image_id']]
        clear = np.zeros((64, 96), bool)  # within this box, without its frame and what may lie over
        for other, room in ((box, -2), *((other, 6) for other in others if other is not box)):
            x, y, w, h = other['bbox']
            area = np.s_[max(y - room, 0) : y + h + room, max(x - room, 0) : x + w + room]
            clear[area] = other is box
        sheet = np.asarray(Image.open(tmp_path / f'o/{box["image_id"] - 1:012d}.png'))
        truth = sheet[35 : 35 + 256 : 4, 8 : 8 + 384 : 4]
        same = (truth[clear] == tuple(COLOURS.values())[box['category_id'] // 3]).all(1)
        if len(same) > 80:
            seen += 1
            assert same.mean() > 0.5  # labels hide the rest
    assert seen


@pytest.mark.slow
def test_flops(run, config, mask_config):
    """RetinaNet as mmengine counts it; the second stage on the regions that the config lets in."""
    from mmengine.analysis import get_model_complexity_info

    from mmvit_plugins.analysis import build_model
    from mmvit_plugins.analysis.flops import count_flops

    done = run('get_flops.py', config, '--shape', 64, 96)
    assert done.returncode == 0, done.stderr
    assert 'Detector: decoding of boxes and NMS are not included.' in done.stdout
    assert 'Second stage' not in done.stdout and 'WARNING' not in done.stdout
    model = build_model(Config.fromfile(config))
    counted = count_flops(model, (3, 64, 96))
    head = get_model_complexity_info(model.bbox_head.eval(), None, inputs=(model.extract_feat(
        torch.zeros(1, 3, 64, 96)),), show_table=False, show_arch=False)  # fmt: skip
    parts = {part['name']: part['flops'] for part in counted['parts']}
    assert parts['head'] == head['flops'] > 0

    done = run('get_flops.py', mask_config, '--json')
    assert done.returncode == 0, done.stderr
    whole = json.loads(done.stdout)
    assert whole['shape'] == [3, 96, 128] and whole['regions'] == 100 and not whole['unknown']
    assert whole['shape_from'] == 'Resize of the test pipeline, at most 8:5'
    cfg = Config.fromfile(mask_config)
    cfg.model.test_cfg.rpn.max_per_img = 200  # masks are of the first 100 as before
    more = count_flops(build_model(cfg), (3, 96, 128))
    head = cfg.model.roi_head.bbox_head
    layers = ((49 * 16, 32), (32, 32), (32, 4), (32, 12))
    each = sum(wide * out for wide, out in layers)
    assert more['flops'] - whole['flops'] == 100 * each
    done = run('get_flops.py', mask_config)
    assert 'Second stage: on 100 regions' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize('build', [retinanet, mask_rcnn])
def test_benchmark(run, tmp_path, data, build):
    detection_config(build(), data).dump(tmp_path / 'config.py')
    done = run(
        'benchmark.py', 'config.py', '--shape', 64, 96, '--predict', '--train', '--repeats', 1,
        '--warmup', 1, '--batch-size', 2, '--flops', '--json', 'times.json',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / 'times.json').read_text())['results']
    assert [entry['mode'] for entry in results] == ['tensor', 'predict', 'train']
    assert all(entry['flops'] > 0 for entry in results)
    assert 'no NMS in modes tensor and train' in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    'options',
    [
        ('model.backbone.init_cfg.type=Pretrained', 'model.backbone.init_cfg.checkpoint=a.pth'),
        ('load_from=a.pth',),
    ],
    ids=['init_cfg', 'load_from'],
)
def test_checkpoints(run, config, data, tmp_path, options):
    """The authors' file of a backbone starts a training; what is published of it loads again."""
    from mmdet.apis import DetInferencer

    backbone = MODELS.build(retinanet().backbone)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    layout = next(x for x in CONVERTERS['SwinTransformer'] if x.name.startswith('official'))
    torch.save({'model': layout.from_ours(backbone.state_dict())}, tmp_path / 'a.pth')
    done = run(
        'train.py', config, '--work-dir', 'w', '--no-validate', '--cfg-options',
        'train_cfg.max_epochs=1', 'optim_wrapper.optimizer.lr=0.0', *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = torch.load(tmp_path / 'w/epoch_1.pth', weights_only=False)['state_dict']
    for name, value in backbone.named_parameters():
        torch.testing.assert_close(trained[f'backbone.{name}'], value.detach())
    done = run('publish_checkpoint.py', 'w/epoch_1.pth', 'retina.pth')
    assert done.returncode == 0, done.stderr
    file = next(tmp_path.glob('retina-*.pth'))
    content = torch.load(file, weights_only=True)
    assert tuple(content['meta']['dataset_meta']['classes']) == CLASSES
    assert content.keys() == {'meta', 'state_dict'}
    inferencer = DetInferencer(str(config), str(file), 'cpu', show_progress=False)
    found = inferencer(str(data / 'val2017/000000000000.jpg'))['predictions']
    assert found[0].keys() >= {'bboxes', 'labels', 'scores'}


@pytest.mark.slow
def test_a_detector_converts(run, tmp_path):
    """Only its backbone changes its layout, and back again everything is as it was."""
    from mmdet.registry import MODELS as DET

    with DefaultScope.overwrite_default_scope('mmdet'):
        swin = {'type': 'mmvit_plugins.SwinTransformer', 'arch': 'tiny'}
        model = DET.build(retinanet(swin, (96, 192, 384, 768)))
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'ours.pth')
    for arguments in (('ours.pth', 'theirs.pth', '--to', 'official'), ('theirs.pth', 'back.pth')):
        done = run('convert_checkpoint.py', *arguments)
        assert done.returncode == 0, done.stderr
    ours, theirs, back = (
        torch.load(tmp_path / f'{name}.pth', weights_only=True)['state_dict']
        for name in ('ours', 'theirs', 'back')
    )
    assert not equal(theirs, ours) and equal(back, ours)
    heads = [name for name in ours if not name.startswith('backbone.')]
    assert all(torch.equal(theirs[name], ours[name]) for name in heads)
