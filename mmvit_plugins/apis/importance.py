"""Show what guides SG-Former's attention on pictures: importance and regions, for any host."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from ..errors import UserError
from ..models.backbones.sgformer import STRIDES, Guidance
from ..registry import MODELS
from ..visualization import draw_importance
from .batches import for_each_picture
from .outputs import check_outputs
from .pictures import drawn, find_pictures, save
from .predictor import Predictor, check_opacity


def visualize_importance(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    block: int | None = None,
    device: str | None = None,
    opacity: float = 0.6,
    cfg_options: dict | None = None,
    overwrite: bool = False,
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
        overwrite: Whether pictures of an earlier run may be replaced.

    Raises:
        UserError: Nothing to show, a wrong argument, a model that makes no importance, or, after
            all others are written, pictures that could not be read.
    """
    check_opacity(opacity)
    pictures = find_pictures(source)
    check_outputs(drawn(pictures, out), [source, config, checkpoint], overwrite)
    predictor = Predictor(config, checkpoint, device, cfg_options, check=check_guided)

    def write(path: Path, name: str) -> None:
        image, batch = predictor.open(path)
        stages = choose_block(predictor.model.backbone.guidance(batch['inputs']), block)
        save(draw_importance(image, stages, opacity), Path(out, f'{name}.png'))

    for_each_picture(pictures, out, write)


def check_guided(model: nn.Module) -> None:
    """Refuse a host's model whose backbone does not hand out what guides it.

    Raises:
        UserError: The backbone makes no importance maps.
    """
    backbone = model.backbone
    if not hasattr(backbone, 'guidance'):
        able = [name for name, cls in MODELS.module_dict.items() if hasattr(cls, 'guidance')]
        raise UserError(
            f'the backbone {type(backbone).__name__} makes no importance maps: give the config and '
            f'checkpoint of a model with {" or ".join(able)}'
        )


def choose_block(
    guidance: Sequence[Guidance], block: int | None
) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Take one hybrid-scale block's maps of the first image in each stage that has it.

    Args:
        guidance: One entry for each stage.
        block: As in :func:`visualize_importance`.

    Returns:
        Title to importance ``(H, W)``, regions ``(H, W)`` and stride.

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
            importance, regions = (tokens[0, chosen - 1].cpu().numpy() for tokens in stage)
            title = f'stage {number}, hybrid block {chosen} of {count}'
            stages[title] = importance, regions, stride
    return stages
