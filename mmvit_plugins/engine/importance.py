"""Show what guides SG-Former's attention on pictures: importance and regions, for any host."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import load_checkpoint
from torch import nn

from ..analysis.build import build_model
from ..checkpoint import read_checkpoint
from ..models.backbones.sgformer import STRIDES, Guidance
from ..registry import HOSTS, MODELS
from ..visualization import draw_importance
from .errors import UserError
from .inference import (
    check_opacity,
    default_device,
    find_pictures,
    find_test_dataset,
    for_each_picture,
    load_scoped_config,
    save,
)


def visualize_importance(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    block: int | None = None,
    device: str | None = None,
    opacity: float = 0.6,
    cfg_options: dict | None = None,
) -> None:
    """Write ``OUT/<name>.png`` for each input picture: importance and regions in stages 1 to 3.

    Importance is the mean attention that a token receives in a hybrid-scale block, coarse and fine
    together, 2/49 on average; the regions that follow from it are what the next block merges its
    keys by.

    Drawn is the input of the network itself: the picture as the config's test pipeline resizes and
    crops it, without the padding that the data preprocessor adds below and to the right. A
    segmentor that is tested in sliding windows is shown the whole of it at once.

    Args:
        config: The config file of a classifier, segmentor or detector.
        checkpoint: The weights.
        source: A picture or a folder, which is searched to any depth.
        out: The folder to write into.
        block: Which hybrid-scale block, counted from 1 in each stage; stages with fewer are left
            out. By default the last one of each stage.
        device: As ``cuda:0``; the GPU if there is one.
        opacity: Of the importance, 0 to 1.
        cfg_options: Settings that replace those of the config.

    Raises:
        UserError: Nothing to show, a wrong argument, a model that makes no importance, or, after
            all others are written, pictures that could not be read.
    """
    check_opacity(opacity)
    cfg = load_scoped_config(config, cfg_options, HOSTS)
    pictures = find_pictures(source)
    read_checkpoint(checkpoint)
    if cfg.get('data_preprocessor'):
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = build_model(cfg)
    backbone = find_guided_backbone(model)
    load_checkpoint(model, checkpoint, map_location='cpu')
    model.to(device or default_device())
    steps = find_test_dataset(cfg).pipeline
    pipeline = Compose([step for step in steps if not is_for_annotations(step)])

    def write(_: np.ndarray, name: str) -> None:
        # The pipeline reads the file again, as it decodes it; mmdetection packs the id.
        sample = pipeline({'img_path': str(pictures[name]), 'img_id': 0})
        image = to_picture(sample['inputs'])
        inputs = model.data_preprocessor(pseudo_collate([sample]), False)['inputs']
        stages = choose_block(backbone.guidance(inputs), block)
        save(draw_importance(image, stages, opacity), Path(out, f'{name}.png'))

    for_each_picture(pictures, out, write)


def find_guided_backbone(model: nn.Module) -> nn.Module:
    """Return the backbone of a host's model, one that hands out what guides it.

    Raises:
        UserError: It is no complete model, or its backbone makes no importance maps.
    """
    backbone = getattr(model, 'backbone', None)
    if not isinstance(model, BaseModel) or backbone is None:
        raise UserError(
            f'the model is a {type(model).__name__}: give the config of a classifier, segmentor or '
            'detector with a backbone'
        )
    if not hasattr(backbone, 'guidance'):
        able = [name for name, cls in MODELS.module_dict.items() if hasattr(cls, 'guidance')]
        raise UserError(
            f'the backbone {type(backbone).__name__} makes no importance maps: give the config and '
            f'checkpoint of a model with {" or ".join(able)}'
        )
    return backbone


def is_for_annotations(step: dict) -> bool:
    """Tell whether a step of a pipeline loads annotations, which a picture alone does not have."""
    kind = str(step['type']).rpartition('.')[2]
    return kind.startswith('Load') and 'Annotation' in kind


def to_picture(inputs: torch.Tensor) -> np.ndarray:
    """Turn what a pipeline packs, ``(C, H, W)`` in BGR, into RGB ``(H, W, 3)``, uint8.

    What the pipeline itself has normalised is stretched to what a picture can hold.

    Raises:
        UserError: It is no picture of 1 or 3 channels.
    """
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3 or inputs.shape[0] not in (1, 3):
        came = list(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise UserError(
            f'the test pipeline gives {came}, where one picture (1 or 3, H, W) can be shown: leave '
            'out what makes several views of it'
        )
    pixels = inputs.float()
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        pixels = (pixels - low) / ((high - low) or 1) * 255
    return pixels.flip(0).expand(3, -1, -1).permute(1, 2, 0).round().byte().numpy()


def choose_block(
    guidance: Sequence[Guidance], block: int | None
) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Take one hybrid-scale block's maps of the first image in each stage that has it.

    Args:
        guidance: One entry for each stage.
        block: As in :func:`visualize_importance`.

    Returns:
        dict: Title to importance ``(H, W)``, regions ``(H, W)`` and stride.

    Raises:
        UserError: No stage has it.
    """
    counts = [stage.importance.shape[1] for stage in guidance]
    if block is not None and not 1 <= block <= max(counts):
        raise UserError(
            f'block={block}: the stages have {", ".join(map(str, counts))} hybrid-scale blocks, '
            f'give a number from 1 to {max(counts)}'
        )
    stages = {}
    for number, (stage, stride) in enumerate(zip(guidance, STRIDES, strict=False), 1):
        count = stage.importance.shape[1]
        chosen = block or count
        if chosen <= count:
            maps = [tokens[0, chosen - 1].cpu().numpy() for tokens in stage]
            stages[f'stage {number}, hybrid block {chosen} of {count}'] = (*maps, stride)
    return stages
