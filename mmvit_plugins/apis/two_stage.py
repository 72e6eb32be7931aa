"""Show how a classifier that looks twice comes to its result, picture by picture."""

from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from ..visualization import draw_two_stage
from .batches import for_each_picture
from .outputs import check_outputs
from .pictures import PREDICTIONS, drawn, find_pictures, save
from .predictor import Predictor, check_opacity


def visualize_two_stage(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    device: str | None = None,
    opacity: float = 0.5,
    cfg_options: dict | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``OUT/<name>.png`` for each input picture, and ``OUT/predictions.json``.

    A picture shows what the network is given, the response map over it, the box in both, and what
    is in the box; below, what became of the box and the five likeliest classes of the first look,
    of the second and of both together. The file holds the same: for each picture ``box`` (left,
    top, right and bottom edge in pixels of the network's input), ``status``, and the classes under
    ``stage one``, ``stage two`` and ``fused``. Where there was no second look, stage two is stage
    one.

    Args:
        config: The config file of a ``mmvit_plugins.TwoStageClassifier``.
        checkpoint: The weights.
        source: A picture or a folder, which is searched to any depth.
        out: The folder to write into.
        device: As ``cuda:0``; the GPU if there is one.
        opacity: Of the response, 0 to 1.
        cfg_options: Settings that replace those of the config.
        overwrite: Whether pictures of an earlier run may be replaced.

    Raises:
        UserError: Nothing to show, a wrong argument, a model that looks once, or, after all others
            are written, pictures that could not be read.
    """
    check_opacity(opacity)
    pictures = find_pictures(source)
    files = [*drawn(pictures, out), Path(out, PREDICTIONS)]
    check_outputs(files, [source, config, checkpoint], overwrite)
    predictor = Predictor(config, checkpoint, device, cfg_options, ['mmpretrain'])
    model = predictor.model
    if not hasattr(model, 'two_stages'):
        raise UserError(
            f'the model is a {type(model).__name__}, which looks once: give the config of a '
            'mmvit_plugins.TwoStageClassifier'
        )

    def write(path: Path, name: str) -> dict:
        image, batch = predictor.open(path)
        with torch.no_grad():
            sample = model(**batch, mode='predict')[0].cpu()
        height, width = batch['inputs'].shape[2:]
        beyond = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
        first, second = sample.stage_scores
        scores = {'stage one': first, 'stage two': second, 'fused': sample.pred_score}
        best = {title: predictor.find_best(values) for title, values in scores.items()}
        box = [round(edge, 2) for edge in sample.crop_box.tolist()]
        lines = {
            title: [f'{entry["score"]:.3f}  {entry["class"]}' for entry in entries]
            for title, entries in best.items()
        }
        sheet = draw_two_stage(
            np.pad(image, beyond),  # a box may reach into the padding
            sample.response_map.numpy(),
            box,
            sample.crop_status,
            lines,
            opacity,
        )
        save(sheet, Path(out, f'{name}.png'))
        return {'box': box, 'status': sample.crop_status, **best}

    for_each_picture(pictures, out, write)
