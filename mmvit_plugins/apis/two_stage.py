"""Show how a classifier that looks twice comes to its result, picture by picture."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..errors import UserError
from ..visualization import draw_two_stage
from .inference import (
    check_opacity,
    find_class_names,
    find_pictures,
    for_each_picture,
    load_scoped_config,
    open_model,
    open_picture,
    save,
)


def visualize_two_stage(
    config: str,
    checkpoint: str,
    source: str,
    out: str,
    device: str | None = None,
    opacity: float = 0.5,
    cfg_options: dict | None = None,
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

    Raises:
        UserError: Nothing to show, a wrong argument, a model that looks once, or, after all others
            are written, pictures that could not be read.
    """
    check_opacity(opacity)
    cfg = load_scoped_config(config, cfg_options, ['mmpretrain'])
    pictures = find_pictures(source)
    model, pipeline = open_model(cfg, checkpoint, device)
    if not hasattr(model, 'two_stages'):
        raise UserError(
            f'the model is a {type(model).__name__}, which looks once: give the config of a '
            'mmvit_plugins.TwoStageClassifier'
        )
    names = find_class_names(cfg, checkpoint)
    predictions = {}

    def write(_: np.ndarray, name: str) -> None:
        image, batch = open_picture(model, pipeline, pictures[name])
        with torch.no_grad():
            sample = model(**batch, mode='predict')[0].cpu()
        height, width = batch['inputs'].shape[2:]
        beyond = ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0))
        first, second = sample.stage_scores
        scores = {'stage one': first, 'stage two': second, 'fused': sample.pred_score}
        best = {title: find_best(values, names) for title, values in scores.items()}
        box = [round(edge, 2) for edge in sample.crop_box.tolist()]
        predictions[name] = {'box': box, 'status': sample.crop_status, **best}
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
        Path(out, 'predictions.json').write_text(json.dumps(predictions, indent=1))

    for_each_picture(pictures, out, write)


def find_best(scores: torch.Tensor, names: Sequence[str], count: int = 5) -> list[dict]:
    """Return the likeliest classes, best first: dicts of ``class``, ``label`` and ``score``.

    Args:
        scores: ``(K,)``.
        names: Of the classes; others than K stand for none, and classes are numbered.
        count: How many at most.
    """
    values, labels = scores.topk(min(count, len(scores)))
    known = names if len(names) == len(scores) else range(len(scores))
    return [
        {'class': str(known[label]), 'label': label, 'score': round(value, 6)}
        for value, label in zip(values.tolist(), labels.tolist(), strict=True)
    ]
