"""A trained model of any host, opened for pictures: the one way in which all tools do it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.fileio import list_from_file
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import load_checkpoint

from ..analysis.build import build_model
from ..checkpoint import fitting_meta, read_checkpoint, whole
from ..config import explained, load_config
from ..datasets.settings import check_class_names
from ..datasets.wrappers import leaf_configs
from ..environment import find_device
from ..errors import UserError, is_undecoded
from ..registry import HOSTS
from .console import without_idle_warnings
from .pictures import UnreadableError, check_depth, check_whole, to_picture


class Predictor:
    """Reads a picture as the config's test does, and predicts it.

    The file goes through the pipeline of the config's test data, from its first step on: colours,
    turned cameras, sizes are what ``tools/test.py`` makes of them, whatever the host.

    Args:
        config: The config file of a classifier, segmentor or detector, or what
            :func:`load_scoped_config` made of it.
        checkpoint: The weights.
        device: As ``cuda:0``; the GPU if there is one.
        cfg_options: Settings that replace those of the config.
        scopes: What ``default_scope`` may be.
        check: What else refuses the model, before its weights are loaded.

    Attributes:
        cfg: The config.
        model: In eval mode, on the device.
        classes: Names: the checkpoint's, else the test data set's, else none.
        palette: Colours from where the names are, None if there are none.

    Raises:
        UserError: There is no such device, the config is for another host or cannot run here, it
            describes no complete model with a backbone, or its test data are no picture files.
    """

    def __init__(
        self,
        config: str | Config,
        checkpoint: str,
        device: str | None = None,
        cfg_options: dict | None = None,
        scopes: Collection[str] = HOSTS,
        check: Callable[[BaseModel], object] = lambda model: None,
    ):
        target = find_device(device)
        if not isinstance(config, Config):
            config = load_scoped_config(config, cfg_options, scopes)
        cfg = self.cfg = config
        state = read_checkpoint(checkpoint)
        if cfg.get('data_preprocessor') and 'backbone' in cfg.model:
            cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
        dataset = find_test_dataset(cfg)
        steps = [step for step in dataset.pipeline if not is_for_annotations(step)]
        if not any(map(loads_picture, steps)):
            raise UserError(
                f'the test pipeline of {cfg.filename} loads no picture files (LSGA-ViT, for one, '
                'sees windows of a scene): give a config whose pipeline has LoadImageFromFile'
            )
        with without_idle_warnings():
            model = build_model(cfg)
        if not isinstance(model, BaseModel) or getattr(model, 'backbone', None) is None:
            raise UserError(
                f'the model is a {type(model).__name__}: give the config of a classifier, '
                'segmentor or detector with a backbone'
            )
        check(model)
        with whole(model, checkpoint):
            load_checkpoint(model, checkpoint, map_location='cpu')
        self.model = model.to(target)
        with explained(cfg):
            self.pipeline = Compose(steps)
        self.loading = 1 + next(i for i, step in enumerate(steps) if loads_picture(step))
        metainfo = self._find_metainfo(fitting_meta(model, state, checkpoint), dataset)
        self.classes: Sequence[str] = list(metainfo.get('classes', ()))
        palette = metainfo.get('palette')
        self.palette = palette if isinstance(palette, list | tuple) else None

    def _find_metainfo(self, meta: Mapping, dataset: Mapping) -> Mapping:
        """Find classes and palette: the checkpoint's, else the test data set's, else nothing."""
        kind = dataset.get('type')
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(self.cfg.default_scope) as registry:
                kind = registry.get(kind)
        for known in (meta, dataset.get('metainfo'), getattr(kind, 'METAINFO', {})):
            if known and isinstance(known.get('classes'), str):  # a file, as mmengine reads it
                check_class_names(known['classes'])
                known = {**known, 'classes': list_from_file(known['classes'])}
            if known and known.get('classes'):
                return known
        return {}

    def load(self, path: Path, check: bool = True) -> dict:
        """Read a file: what the pipeline's first steps give, ``img`` ``(H, W, C)`` among it.

        Args:
            path: The file.
            check: Whether to look at it with a second decoder, for what is damaged or cut off.

        Raises:
            UnreadableError: It is damaged, or what the config's decoder would not show as it is.
        """
        deep = check_whole(path) if check else None
        results: Any = {'img_path': str(path), 'img_id': 0}  # mmdetection packs the id
        for step in self.pipeline.transforms[: self.loading]:
            try:
                results = step(results)
            except (AssertionError, AttributeError) as error:  # mmcv's, where nothing was decoded
                if not is_undecoded(str(error)):
                    raise
                if deep is not None:
                    check_depth(None, deep, path)
                raise UnreadableError(str(error)) from error
        if deep is not None:
            check_depth(results['img'], deep, path)
        return results

    def prepare(self, results: dict, leave_out: Collection[str] = ()) -> dict:
        """Run the steps after loading: what the pipeline packs for the network.

        Args:
            results: Of :meth:`load`.
            leave_out: Kinds of steps, as ``Resize``, that are not run.
        """
        for step in self.pipeline.transforms[self.loading :]:
            if type(step).__name__ not in leave_out:
                results = step(results)
        return results

    @torch.no_grad()
    def forward(self, samples: Sequence[dict]) -> list:
        """Predict what :meth:`prepare` gave: the host's data samples, on the CPU.

        Args:
            samples: All of one shape.
        """
        return [found.cpu() for found in self.model.test_step(pseudo_collate(samples))]

    def _read(self, path: Path) -> tuple[Any, dict]:
        """Read a file: the picture as it was loaded, and what the pipeline packs."""
        results = self.load(path)
        picture = results['img'].copy()
        return picture, self.prepare(results)

    def open(self, path: Path) -> tuple[np.ndarray, dict]:
        """Read a picture for the network.

        Returns:
            What the network sees of it, RGB ``(H, W, 3)`` without padding, and a batch of one.
        """
        _, sample = self._read(path)
        batch = self.model.data_preprocessor(pseudo_collate([sample]), False)
        return to_picture(sample['inputs']), batch

    def predict(self, path: Path) -> tuple[np.ndarray, Any]:
        """Predict a picture.

        Returns:
            The picture as it was loaded, RGB ``(H, W, 3)``, and the host's data sample on the CPU,
            in the picture's pixels.
        """
        picture, sample = self._read(path)
        return show_loaded(picture), self.forward([sample])[0]

    def find_class(self, target: int | str, count: int) -> int:
        """Return the number of a class that is given by name or number.

        Args:
            target: The class.
            count: How many the model scores; names of another number of classes are none.

        Raises:
            UserError: There is no such class.
        """
        text, names = str(target), self.names(count)
        if text in names and not isinstance(target, int):
            return list(names).index(text)
        if text.isdecimal() and int(text) < count:
            return int(text)
        near = get_close_matches(text, names, 3, 0)
        raise UserError(
            f'target={target!r}: there is no such class, give a number from 0 to {count - 1}'
            + (f' or a name, as {", ".join(map(repr, near))}' if near else '')
        )

    def names(self, count: int) -> Sequence[str]:
        """Return the names of the classes if they are as many as the model scores, else none."""
        return self.classes if len(self.classes) == count else ()

    def find_best(self, scores: torch.Tensor, count: int = 5) -> list[dict]:
        """Return the likeliest classes, best first: dicts of ``class``, ``label`` and ``score``.

        Args:
            scores: ``(K,)``; without K names, classes are numbered.
            count: How many at most.
        """
        values, labels = scores.topk(min(count, len(scores)))
        names = self.names(len(scores)) or range(len(scores))
        return [
            {'class': str(names[label]), 'label': label, 'score': round(value, 6)}
            for value, label in zip(values.tolist(), labels.tolist(), strict=True)
        ]


def load_scoped_config(path: str, options: dict | None, scopes: Collection[str]) -> Config:
    """Load the config of a host's model, and make its scope the default one.

    Args:
        path: The config file.
        options: Settings that replace those of the config.
        scopes: What ``default_scope`` may be.

    Raises:
        UserError: It does not exist, is for another host, has no model, or cannot run here.
    """
    cfg = load_config(path, options)
    if cfg.get('default_scope') not in scopes:
        raise UserError(
            f'{path} has default_scope={cfg.get("default_scope")!r}, pictures can be made for '
            f'{sorted(scopes)}'
        )
    if not isinstance(cfg.get('model'), dict):
        raise UserError(f'{path} has no dict named "model": give the config of a model')
    init_default_scope(cfg.default_scope)
    return cfg


def find_test_dataset(cfg: Config) -> Any:
    """Find the data set to test on (else to validate on) in its config, inside of all wrappers.

    Raises:
        UserError: There is none.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise UserError(
            f'{cfg.filename} has no test_dataloader, which tells how pictures are prepared: add one'
        )
    return next(leaf_configs(loader))


def show_loaded(picture: np.ndarray) -> np.ndarray:
    """Turn ``img`` as a pipeline loads it into RGB ``(H, W, 3)``, uint8."""
    return to_picture(torch.from_numpy(np.atleast_3d(picture)).permute(2, 0, 1))


def loads_picture(step: Mapping) -> bool:
    """Tell whether a step of a pipeline loads the picture."""
    return 'LoadImage' in str(step['type'])


def is_for_annotations(step: dict) -> bool:
    """Tell whether a step of a pipeline loads annotations, which a picture alone does not have."""
    kind = str(step['type']).rpartition('.')[2]
    return kind.startswith('Load') and 'Annotation' in kind


def check_opacity(opacity: float) -> None:
    """Refuse what is no share.

    Raises:
        UserError: It is not in 0 to 1.
    """
    if not 0 <= opacity <= 1:
        raise UserError(f'opacity={opacity}: give a number from 0 (only the picture) to 1')
