"""What the options of a test change in a config: pictures, augmentation, dumps; all hosts."""

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env
from PIL import Image

from ..datasets.wrappers import leaf_configs
from ..errors import UserError
from ..writing import write_bytes
from .pictures import save

# test-time augmentation where the config has none, as the hosts' own tools set it
FLIPPED = {
    'mmpretrain': {'type': 'AverageClsScoreTTA'},
    'mmdet': {
        'type': 'DetTTAModel',
        'tta_cfg': {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100},
    },
}
VIEW_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
)


def draw_results(cfg: Config, args: argparse.Namespace) -> None:
    """Switch on the host's visualization hook, whose arguments differ between hosts."""
    if args.interval < 1 or not args.wait_time >= 0:
        raise UserError(
            f'--interval {args.interval} --wait-time {args.wait_time}: give a number of pictures '
            'from 1 on, and of seconds from 0 on'
        )
    scope = cfg.get('default_scope')
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if any('window_size' in dataset for dataset in leaf_configs(cfg.test_dataloader)):
        raise UserError(
            '--show and --show-dir draw pictures, which windows of a scene are not: draw its map '
            'with tools/map_scene.py'
        )
    if hook is None:
        names = {'mmpretrain': 'VisualizationHook', 'mmdet': 'DetVisualizationHook'}
        raise UserError(
            '--show and --show-dir need default_hooks.visualization, as '
            f"dict(type='{names.get(scope, 'SegVisualizationHook')}')"
        )
    if scope == 'mmpretrain' and args.tta:
        raise UserError("mmpretrain's hook cannot draw with --tta: leave out --show and --show-dir")
    hook.update(show=args.show, wait_time=args.wait_time)
    if scope == 'mmdet':
        if args.interval != 1:
            raise UserError(
                f"--interval {args.interval}: mmdetection's hook draws every picture of a test, "
                'leave it out; tools/infer.py draws the pictures of a folder'
            )
        cfg.setdefault('visualizer', {'type': 'DetLocalVisualizer'})
        # the hook puts what is not absolute below the folder of the batch before
        folder = args.show_dir and str(Path(args.show_dir).resolve())
        hook.update(draw=True, test_out_dir=folder)
        return
    hook.interval = args.interval
    if scope == 'mmpretrain':
        hook.update(enable=True, out_dir=args.show_dir)
        cfg.setdefault('visualizer', {'type': 'UniversalVisualizer'})
        return
    hook.draw = True
    if args.show_dir:
        cfg.setdefault('visualizer', {'type': 'SegLocalVisualizer'})
        cfg.visualizer.setdefault('vis_backends', [{'type': 'LocalVisBackend'}])
        for backend in cfg.visualizer.vis_backends:
            if backend['type'] == 'LocalVisBackend':
                backend['type'] = 'WholePicturesBackend'
        cfg.visualizer.save_dir = args.show_dir


def set_tta(cfg: Config, path: str) -> None:
    """Put the model into the config's test-time augmentation.

    Where the config has none, a classifier and a detector see each picture twice, once mirrored, as
    their hosts' own tools do.
    """
    scope = cfg.get('default_scope')
    datasets: list[Any] = list(leaf_configs(cfg.test_dataloader))
    if scope == 'mmdet' and (cfg.model.get('roi_head') or cfg.model).get('mask_head'):
        raise UserError(
            '--tta: mmdetection merges boxes, not masks, and this model predicts masks: leave it '
            'out, or take the config of a detector without mask_head'
        )
    if scope in FLIPPED:
        cfg.setdefault('tta_model', deepcopy(FLIPPED[scope]))
        if 'tta_pipeline' not in cfg:
            *steps, pack = deepcopy(datasets[0]['pipeline'])
            if scope == 'mmdet':  # what merging needs to know of a view
                pack = {'type': 'PackDetInputs', 'meta_keys': VIEW_KEYS}
            flips = [{'type': 'RandomFlip', 'prob': prob} for prob in (1.0, 0.0)]
            cfg.tta_pipeline = [*steps, {'type': 'TestTimeAug', 'transforms': [flips, [pack]]}]
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise UserError(f'--tta needs tta_model and tta_pipeline, which {path} does not have')
    for dataset in datasets:
        dataset['pipeline'] = deepcopy(cfg.tta_pipeline)
    # The hook would look for its averages under the wrapped model's names; a checkpoint's
    # ``state_dict`` holds the averaged weights already.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if str(hook.type).rpartition('.')[2] != 'EMAHook']
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


@VISBACKENDS.register_module()
class WholePicturesBackend(LocalVisBackend):
    """mmengine's, which says so where a picture cannot be written."""

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write a picture, RGB ``(H, W, 3)``."""
        save(Image.fromarray(image), Path(self._img_save_dir, f'{name}_{step}.png'))


def write_whole_maps(metric: Any) -> None:
    """Let mmseg's ``IoUMetric`` write its label maps so that none is half there, or lost."""
    score, folder = metric.process, metric.output_dir
    sources: dict[Path, str] = {}

    def process(data_batch: Any, data_samples: Sequence[dict]) -> None:
        metric.output_dir = None
        score(data_batch, data_samples)
        metric.output_dir = folder
        for sample in data_samples:
            source = sample['img_path']
            target = Path(folder, f'{Path(source).stem}.png')
            if sources.setdefault(target, source) != source:
                raise UserError(
                    f'{sources[target]} and {source} would both become {target}: write one file of '
                    'all with --out-item pred'
                )
            labels = sample['pred_sem_seg']['data'].squeeze().cpu().numpy()
            labels = labels + bool(sample.get('reduce_zero_label'))  # as it was annotated
            save(Image.fromarray(labels.astype(np.uint8)), target)

    metric.process = process


def write_dump(data: Any, path: str) -> None:
    """Write predictions or scores in the format of the file's ending."""
    content = mmengine.dump(data, file_format=Path(path).suffix[1:])
    write_bytes(content if isinstance(content, bytes) else content.encode(), path)


def dump_to(path: str) -> Callable[[list], dict]:
    """Return what a metric of mmengine's that only writes is to do, with no half file."""

    def compute_metrics(results: list) -> dict:
        write_dump(results, path)
        return {}

    return compute_metrics


def check_dump(path: str, item: str | None) -> None:
    """Refuse a name that mmengine would refuse when all is done.

    Args:
        path: The file that predictions or scores go into.
        item: ``'metrics'`` for scores, else predictions.

    Raises:
        UserError: Its ending is of another format.
    """
    what, allowed = 'predictions', ('.pkl', '.pickle')
    if item == 'metrics':
        what, allowed = 'scores', ('.json', '.yml', '.yaml', *allowed)
    if not path.endswith(allowed):
        raise UserError(
            f'--out {path}: {what} go into one file, named {" or ".join(allowed)}'
            + ('' if item == 'metrics' else '; with --out-item metrics the scores go into a .json')
        )
