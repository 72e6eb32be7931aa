"""Miniature data sets in the folder layouts of the real ones, and configs cut down to them.

``root = make('ade20k', tmp_path)`` writes one; ``fit(cfg, root)`` makes a full config of this
repository run on it within seconds, through the same classes.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from detection import SWIN, SWIN_CHANNELS, make_coco
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from scipy.io import savemat

from mmvit_plugins.datasets.hyperspectral import SCENES, generate_scene

IMAGENET_CLASSES, GROCERY_CLASSES = 1000, 22
# Networks small enough for a test, and the channels of their maps (Swin's for MGFF: after merging)
SMALL = {
    'mmvit_plugins.SwinTransformer': (
        dict(arch=SWIN['arch']),
        (16, 32, 64, 64),
    ),
    'mmvit_plugins.SGFormer': (
        dict(
            arch=dict(
                embed_dims=(8, 16, 32, 64), num_heads=(2, 2, 2, 2), depths=(2, 2, 2, 1), mlp_ratio=4
            )
        ),
        (8, 16, 32, 64),
    ),
    'mmvit_plugins.AFFormer': (
        dict(
            arch=dict(
                embed_dims=(8, 16, 32, 32),
                depths=(1, 1, 1, 1),
                num_heads=4,
                mlp_ratio=2,
                windows={3: 2, 5: 2},
            )
        ),
        (16, 32, 32, 32),
    ),
    'mmvit_plugins.T2TViT': (
        dict(
            arch=dict(
                tokens_type='performer',
                block='vit',
                embed_dims=32,
                depths=(1,),
                num_heads=2,
                mlp_ratio=2,
            )
        ),
        (64, 64, 32),
    ),
    'mmvit_plugins.LSGAViT': (dict(embed_dims=24, depths=(1,), num_heads=(2,)), (24,)),
    'ResNet': (dict(depth=50, stem_channels=8, base_channels=4), (16, 32, 64, 128)),
    'SwinTransformer': (  # mmpretrain's
        dict(arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4))),
        (8, 16, 32, 64),
    ),
}
# necks and heads of detectors: group norms of 32 groups need two channels to a group
NARROW = dict.fromkeys(
    ('in_channels', 'out_channels', 'feat_channels', 'conv_out_channels', 'embed_dims'), 64
)
NARROW['channels'] = 64  # of segmentors
NARROW |= dict(fc_out_channels=32, feedforward_channels=32, num_feats=32)
NARROW |= dict(num_layers=2, num_queries=20)
SMALL_VIT = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


@dataclass(frozen=True)
class Layout:
    """Where a segmentation data set keeps its files, and which values its label maps hold."""

    splits: tuple[str, ...]
    image: str
    label: str
    values: tuple[int, ...]


LAYOUTS = {
    'ade20k': Layout(
        ('training', 'validation'),
        'images/{split}/ADE_{split}_{i:08d}.jpg',
        'annotations/{split}/ADE_{split}_{i:08d}.png',
        tuple(range(151)),
    ),
    'cityscapes': Layout(
        ('train', 'val'),
        'leftImg8bit/{split}/aachen/aachen_{i:06d}_000019_leftImg8bit.png',
        'gtFine/{split}/aachen/aachen_{i:06d}_000019_gtFine_labelTrainIds.png',
        (*range(19), 255),
    ),
    'coco-stuff10k': Layout(
        ('train2014', 'test2014'),
        'images/{split}/COCO_{split}_{i:012d}.jpg',
        'annotations/{split}/COCO_{split}_{i:012d}_labelTrainIds.png',
        tuple(range(172)),
    ),
    'camvid': Layout(
        ('train', 'val', 'test'),
        'images/{split}/0001TP_{i:06d}.jpg',
        'annotations/{split}/0001TP_{i:06d}.png',
        tuple(range(12)),
    ),
    'digits': Layout(
        ('training', 'validation'),
        'images/{split}/{i:06d}.jpg',
        'annotations/{split}/{i:06d}.png',
        tuple(range(11)),
    ),
}


def make(
    name: str, root: Path, pictures: int = 2, size: tuple[int, int] = (96, 128), seed: int = 0
) -> Path:
    """Write a miniature data set and return its root.

    Args:
        name: A key of ``LAYOUTS`` or ``CLASSIFIED``, or a scene of ``SCENES``, of which the
            generated one needs no files.
        root: Folder that gets the splits; created where needed.
        pictures: Pictures of each split (of each class, to be classified); not of a scene.
        size: Height and width of the pictures; a scene has half of that.
        seed: Seed of the scenes.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    if name in SCENES:
        _make_scene(root, name, size, seed)
        return root
    if name not in LAYOUTS:
        CLASSIFIED[name](root, pictures, size, rng)
        return root
    layout = LAYOUTS[name]
    colours = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    for split in layout.splits:
        for i in range(pictures):
            labels = _draw_labels(layout.values, size, rng)
            noise = rng.integers(-10, 11, (*size, 3))
            image = np.clip(colours[labels] + noise, 0, 255).astype(np.uint8)
            _write(root / layout.image.format(split=split, i=i), image)
            _write(root / layout.label.format(split=split, i=i), labels)
    return root


def fit(cfg: Config, root: Path, crop: int = 64, iterations: int = 2) -> Config:
    """Cut a config of this repository down to a miniature, in place.

    Keeps every class and every step of the pipelines; changes the data's place, sizes, batch size,
    workers and length, what a checkpoint holds, and mixed precision where there is no GPU for it,
    as ``tools/train.py`` does. Weights start at random, also where the config names a file of them.
    Test-time augmentation keeps its first two scales. Windows of a scene keep their size.

    Args:
        cfg: A segmentation or classification config.
        root: What :func:`make` returned.
        crop: Edge of the training crops.
        iterations: Iterations to train, with one validation at the end.
    """
    loaders = [cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader]
    loaders = [loader for loader in loaders if loader]
    for loader in loaders:
        loader.dataset.data_root = str(root)
        loader.update(num_workers=0, persistent_workers=False, pin_memory=False)
    cfg.train_dataloader.batch_size = 2
    locate = cfg.model.get('localizer') or {}
    for part in (cfg.model, cfg.model.backbone, locate.get('vit') or {}):
        if 'checkpoint' in (part.get('init_cfg') or ()):
            part.pop('init_cfg')
    for part, key in ((cfg.model, 'input_size'), (locate, 'size')):
        if part.get(key):
            part[key] = crop
    cfg.default_hooks.checkpoint.save_optimizer = False  # hundreds of megabytes that none reads
    if cfg.optim_wrapper.type == 'AmpOptimWrapper' and not torch.cuda.is_available():
        cfg.optim_wrapper.type = 'CPUAmpOptimWrapper'
    for evaluator, loader in ((cfg.val_evaluator, 1), (cfg.test_evaluator, 2)):
        if evaluator and 'ann_file' in evaluator:
            evaluator.ann_file = str(root / loaders[loader].dataset.ann_file)
    if cfg.default_scope != 'mmseg':  # many classes of a picture each; few of them will do
        for loader in loaders:
            loader.dataset.indices = 2
        loaders[0].dataset.indices = 2 * iterations
        length = 1
        cfg.train_cfg.update(max_epochs=length, val_interval=length)
    else:
        cfg.model.data_preprocessor.size = (crop, crop)
        length = iterations
        cfg.train_cfg.update(max_iters=length, val_interval=length)
    for scheduler in cfg.param_scheduler:
        scheduler.begin = min(scheduler.begin, length - 1)
    pipelines = [loader.dataset.pipeline for loader in loaders]
    for step in _steps([*pipelines, cfg.get('tta_pipeline') or []]):
        kind = step['type']
        if kind in ('RandomResize', 'Resize'):
            step.scale = (2 * crop, crop)
        elif kind == 'RandomChoiceResize':
            step.scales = [(crop, 2 * crop), (crop + 9, 2 * crop)]
        elif kind in ('RandomCrop', 'CenterCrop'):
            absolute = step.get('crop_type') != 'absolute_range'
            step.crop_size = (crop, crop) if absolute else (crop // 2, crop)
        elif kind in ('RandomResizedCrop', 'ResizeEdge'):
            step.scale = crop
        elif kind == 'TestTimeAug' and len(step.transforms[0]) > 2:
            step.transforms[0] = step.transforms[0][:2]
            step.transforms[0][1].scale = (3 * crop, 3 * crop // 2)
    return cfg


def shrink(cfg: Config) -> Config:
    """Cut the networks of a config with MGFF down, in place; grids and options stay."""
    model = cfg.model
    options, channels = SMALL[model.backbone.type]
    model.backbone.update(options)
    nodes = channels[-1] if model.neck.get('embed_dims') is None else 32
    model.neck.update(in_channels=channels, embed_dims=nodes)
    joined = model.neck.get('fuse') == 'channel'
    model.head.in_channels = nodes * len(channels) if joined else nodes
    if 'aux_in_channels' in model.head:
        model.head.aux_in_channels = (nodes,) * len(channels)
    if 'vit' in model.get('localizer', ()):
        model.localizer.vit.arch = SMALL_VIT
    return cfg


def shrink_plain(cfg: Config) -> Config:
    """Cut the network of a classifier or segmentor without MGFF down, in place.

    Tokens of T2T-ViT stay as they are, and so do the smallest networks of the hosts.
    """
    model = cfg.model
    if model.backbone.type not in SMALL:
        return cfg
    options, channels = SMALL[model.backbone.type]
    if model.backbone.type == 'mmvit_plugins.T2TViT' and model.backbone.arch.startswith('t_'):
        options = dict(arch=options['arch'] | dict(tokens_type='transformer'))
    if model.backbone.type == 'mmvit_plugins.SwinTransformer':
        channels = SWIN_CHANNELS
    model.backbone.update(options)
    width = NARROW['channels']
    if 'head' in model:
        model.head.in_channels = channels[-1]
        return cfg
    if model.get('neck'):
        model.neck.update(in_channels=list(channels), out_channels=width)
        channels = (width,) * len(channels)
    for head in filter(None, map(model.get, ('decode_head', 'auxiliary_head'))):
        index = head.in_index
        found = channels[index] if isinstance(index, int) else [channels[i] for i in index]
        head.update(in_channels=found, channels=width)
    return cfg


def shrink_detector(cfg: Config) -> Config:
    """Cut the network of a detection config down, in place, so that it finds boxes untrained."""
    model = cfg.model
    options, channels = SMALL[model.backbone.type]
    model.backbone.update(options)
    if model.backbone.type == 'mmvit_plugins.SwinTransformer':
        channels = SWIN_CHANNELS
    channels = [channels[i] for i in model.backbone.get('out_indices', range(4))]
    *first, last = model.neck if isinstance(model.neck, list) else [model.neck]
    for neck in first:
        neck.in_channels = channels
    last.in_channels = (channels * 4)[: len(last.in_channels)]
    backbone = model.pop('backbone')
    _narrow(model)
    model.backbone = backbone
    if 'roi_head' in model:
        model.test_cfg.rcnn.score_thr = 0.0
        model.test_cfg.rpn.max_per_img = model.train_cfg.rpn_proposal.max_per_img = 50
    elif 'nms' in model.test_cfg:
        model.test_cfg.update(score_thr=0.0, nms_pre=20)
    else:
        model.bbox_head.embed_dims = NARROW['embed_dims']
    return cfg


def _narrow(value) -> None:
    """Set the widths and lengths of necks and heads in nested parts of a config."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, dict | list):
            _narrow(item)
        elif key in NARROW:
            value[key] = NARROW[key]


def _steps(value):
    """Yield every transform in nested pipelines, the outer ones after those inside them."""
    if isinstance(value, dict):
        yield from _steps(value.get('transforms', []))
        yield value
    else:
        for item in value:
            yield from _steps(item)


def _draw_labels(values: tuple[int, ...], size: tuple[int, int], rng) -> np.ndarray:
    """Draw blocks of random labels, the outermost values always among them: ``(H, W)``, uint8."""
    blocks = rng.choice(np.array(values, np.uint8), (3, 4))
    blocks[1, :3] = values[0], values[-2], values[-1]
    return cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)


def _make_imagenet(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    codes = [
        cv2.imencode('.jpg', rng.integers(0, 256, (*size, 3), dtype=np.uint8))[1].tobytes()
        for _ in range(pictures)
    ]
    for split in ('train', 'val'):
        for number in range(IMAGENET_CLASSES):
            folder = root / split / f'n{number:08d}'
            folder.mkdir(parents=True)
            for i, code in enumerate(codes):
                (folder / f'{folder.name}_{i}.JPEG').write_bytes(code)


def _make_grocery(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'val', 'test'):
        lines = []
        for label in range(GROCERY_CLASSES):
            for i in range(pictures):
                lines.append(f'class{label:02d}/{i}.jpg {label}\n')
                image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
                _write(root / split / lines[-1].partition(' ')[0], image)
        (root / 'meta' / f'{split}.txt').write_text(''.join(lines))


def _make_fine(root: Path, pictures: int, size: tuple[int, int], rng, train: str, test: str):
    """Write pictures of three classes and list them: ``(split, label from 1, number, name)``.

    ``train`` and ``test`` are folders, with ``{label}`` where there is one for each class.
    """
    listed = []
    for split, folder in (('train', train), ('test', test)):
        for number in range(3 * pictures):
            label = number % 3 + 1
            name = f'{folder.format(label=label)}/{split}_{number}.jpg'
            _write(root / name, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
            listed.append((split, label, len(listed) + 1, name))
    return listed


def _make_birds(root: Path, pictures: int, size: tuple[int, int], rng, nabirds: bool) -> None:
    """CUB's lists, or NABirds' with its ids, which have gaps and are no numbers, and two more."""
    lists = {name: [] for name in ('images', 'image_class_labels', 'train_test_split')}
    for split, label, number, name in _make_fine(
        root, pictures, size, rng, *['images/{label:03d}'] * 2
    ):
        picture = f'0b-{number:04x}' if nabirds else number
        lists['images'].append(f'{picture} {name.removeprefix("images/")}\n')
        lists['image_class_labels'].append(f'{picture} {label * 100 if nabirds else label}\n')
        lists['train_test_split'].append(f'{picture} {int(split == "train")}\n')
    if nabirds:
        lists['classes'] = ['0 Birds\n', *(f'{100 * i} Kind {i} (adult)\n' for i in (1, 2, 3))]
        lists['hierarchy'] = [f'{100 * i} 0\n' for i in (1, 2, 3)]
    for name, lines in lists.items():
        (root / f'{name}.txt').write_text(''.join(lines))


def _make_cub(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    _make_birds(root, pictures, size, rng, nabirds=False)


def _make_nabirds(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    _make_birds(root, pictures, size, rng, nabirds=True)


def _make_cars(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    listed = _make_fine(root, pictures, size, rng, 'cars_train', 'cars_test')
    (root / 'devkit').mkdir()
    for split, ending in (('train', ''), ('test', '_withlabels')):
        rows = [(name.split('/')[1], np.uint8(label)) for s, label, _, name in listed if s == split]
        savemat(
            root / f'devkit/cars_{split}_annos{ending}.mat',
            {'annotations': np.array(rows, [('fname', 'O'), ('class', 'O')])},
        )


def _make_pets(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    listed = _make_fine(root, pictures, size, rng, 'images', 'images')
    (root / 'annotations').mkdir()
    for split, file in (('train', 'trainval'), ('test', 'test')):
        lines = (f'{Path(name).stem} {label} 1 1\n' for s, label, _, name in listed if s == split)
        (root / f'annotations/{file}.txt').write_text(''.join(lines))


def _make_coco(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    make_coco(root, 2 * pictures, size, names=CocoDataset.METAINFO['classes'], empty=1)


def _make_bccd(root: Path, pictures: int, size: tuple[int, int], rng) -> None:
    make_coco(root, 2 * pictures, size, names=('RBC', 'WBC', 'Platelets'), layout='bccd', empty=1)


CLASSIFIED = {
    'bccd': _make_bccd,
    'coco': _make_coco,
    'in1k': _make_imagenet,
    'grocery22': _make_grocery,
    'cub': _make_cub,
    'nabirds': _make_nabirds,
    'cars': _make_cars,
    'pets': _make_pets,
}


def _make_scene(root: Path, name: str, size: tuple[int, int], seed: int) -> None:
    """Write a generated scene under the real one's file and variable names, bands and classes."""
    info, (height, width) = SCENES[name], size
    arrays = generate_scene(
        height // 2, width // 2, info.shape[2], len(info.classes), seed, fields_per_class=1
    )
    root.mkdir(parents=True, exist_ok=True)
    for candidates, array in zip((info.image, info.labels), arrays, strict=True):
        for file, variable in candidates[:1]:
            savemat(root / file, {variable: array})


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')
