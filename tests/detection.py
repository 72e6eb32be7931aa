"""A miniature of COCO, and small detectors of mmdetection's around a backbone, for many tests."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict
from PIL import Image

COLOURS = {'red': (220, 40, 40), 'green': (40, 200, 40), 'blue': (40, 40, 220)}
CLASSES = tuple(COLOURS)
LAYOUTS = {  # of each split, the annotations and the folder of pictures
    'coco': {
        split: (f'annotations/instances_{split}.json', split) for split in ('train2017', 'val2017')
    },
    'bccd': {
        split: (f'coco/instances_{split}.json', 'JPEGImages') for split in ('train', 'val', 'test')
    },
}
WIDTH = 16  # channels of neck and heads
SWIN = dict(
    type='mmvit_plugins.SwinTransformer',
    arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=7),
)
SWIN_CHANNELS = (8, 16, 32, 64)


def need_mmdet() -> None:
    """Skip a test where mmdetection is not installed."""
    pytest.importorskip('mmdet')


def make_coco(
    root: Path,
    pictures: int = 4,
    size: tuple[int, int] = (64, 96),
    seed: int = 0,
    names: Sequence[str] = CLASSES,
    layout: str = 'coco',
    empty: int = 0,
) -> Path:
    """Write pictures of three coloured boxes each in the folders of a data set; return their root.

    Args:
        root: Folder that gets the splits.
        pictures: Pictures of each split.
        size: Height and width.
        seed: Seed of the boxes, and of their classes if there are more than three.
        names: The classes.
        layout: A key of ``LAYOUTS``.
        empty: How many pictures without boxes each split has besides.
    """
    root, rng = Path(root), np.random.default_rng(seed)
    height, width = size
    for split, (file, folder) in LAYOUTS[layout].items():
        images, annotations = [], []
        for path in (root / file, root / folder / split):
            path.parent.mkdir(parents=True, exist_ok=True)
        for index in range(pictures + empty):
            pixels = rng.integers(0, 60, (*size, 3), dtype=np.uint8)
            name = f'{"" if split in folder else split}{index:012d}.jpg'
            images.append({'id': index + 1, 'file_name': name, 'height': height, 'width': width})
            labels = range(3) if len(names) == 3 else rng.choice(len(names), 3).tolist()
            for label in labels if index < pictures else ():
                w, h = rng.integers(min(size) // 4, min(size) // 2, 2).tolist()
                x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
                pixels[y : y + h, x : x + w] = [*COLOURS.values()][label % 3]
                annotations.append(
                    {
                        'id': len(annotations) + 1,
                        'image_id': index + 1,
                        'category_id': 3 * label + 1,  # with gaps, as in COCO
                        'bbox': [x, y, w, h],
                        'area': w * h,
                        'iscrowd': 0,
                        'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    }
                )
            Image.fromarray(pixels).save(root / folder / name, quality=95)
        content = {
            'images': images,
            'annotations': annotations,
            'categories': [{'id': 3 * k + 1, 'name': name} for k, name in enumerate(names)],
        }
        (root / file).write_text(json.dumps(content))
    return root


def retinanet(backbone=SWIN, in_channels=SWIN_CHANNELS, num_classes=3) -> ConfigDict:
    """mmdetection's RetinaNet, narrow, behind a backbone of strides 4, 8, 16, 32."""
    # what nothing uses, as the first map's norm, would stop training with several processes
    backbone = {**backbone, 'out_indices': (1, 2, 3)}
    model = _base('retinanet_r50_fpn', backbone, in_channels[1:])
    model.neck.start_level = 0
    model.bbox_head.update(
        num_classes=num_classes, in_channels=WIDTH, feat_channels=WIDTH, stacked_convs=1
    )
    model.test_cfg.score_thr = 0.0  # an untrained network finds boxes, too
    return model


def mask_rcnn(backbone=SWIN, in_channels=SWIN_CHANNELS, num_classes=3) -> ConfigDict:
    """mmdetection's Mask R-CNN, narrow, behind a backbone of strides 4, 8, 16, 32."""
    model = _base('mask-rcnn_r50_fpn', backbone, in_channels)
    model.rpn_head.update(in_channels=WIDTH, feat_channels=WIDTH)
    heads = model.roi_head
    for part in ('bbox', 'mask'):
        heads[f'{part}_roi_extractor'].out_channels = WIDTH
        heads[f'{part}_head'].update(in_channels=WIDTH, num_classes=num_classes)
    heads.bbox_head.fc_out_channels = 2 * WIDTH
    heads.mask_head.update(conv_out_channels=WIDTH, num_convs=1)
    model.test_cfg.rcnn.score_thr = 0.0
    model.test_cfg.rpn.max_per_img = model.train_cfg.rpn_proposal.max_per_img = 100
    return model


def _base(name: str, backbone: dict, in_channels: tuple) -> ConfigDict:
    import mmdet

    folder = Path(mmdet.__file__).parent / '.mim/configs/_base_/models'
    model = Config.fromfile(folder / f'{name}.py').model
    model.backbone = ConfigDict(backbone)
    model.neck.update(in_channels=list(in_channels), out_channels=WIDTH)
    return model


def detection_config(model: ConfigDict, root: Path, epochs: int = 2) -> Config:
    """Train and test a detector on what :func:`make_coco` wrote; ``dump(path)`` writes the file."""
    masks = 'mask_head' in model.get('roi_head', ())
    load = dict(type='LoadAnnotations', with_bbox=True, with_mask=masks)
    resize = dict(type='Resize', scale=(128, 96), keep_ratio=True)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')

    def loader(split: str, pipeline: list, **options) -> dict:
        dataset = dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file=f'annotations/instances_{split}.json',
            data_prefix=dict(img=f'{split}/'),
            metainfo=dict(classes=CLASSES, palette=[*COLOURS.values()]),
            pipeline=pipeline,
            **options,
        )
        sampler = dict(type='DefaultSampler', shuffle='train' in split)
        return dict(batch_size=2, num_workers=0, sampler=sampler, dataset=dataset)

    read = dict(type='LoadImageFromFile')
    train = [read, load, resize, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    test = [read, resize, load, dict(type='PackDetInputs', meta_keys=keys)]
    tested = loader('val2017', test, test_mode=True)
    score = dict(
        type='CocoMetric',
        ann_file=f'{root}/annotations/instances_val2017.json',
        metric=['bbox', 'segm'] if masks else 'bbox',
    )
    return Config(
        dict(
            default_scope='mmdet',
            custom_imports=dict(imports=['mmvit_plugins'], allow_failed_imports=False),
            model=model,
            train_dataloader=loader('train2017', train),
            val_dataloader=tested,
            test_dataloader=tested,
            test_pipeline=test,
            val_evaluator=score,
            test_evaluator=score,
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=epochs),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3)),
            visualizer=dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
            auto_scale_lr=dict(enable=False, base_batch_size=16),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(type='mmvit_plugins.CheckpointHook', interval=1),
                visualization=dict(type='DetVisualizationHook'),
            ),
            randomness=dict(seed=0),
        )
    )
