"""What all tasks share that predict pictures: loading, batches, and what is written."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ..errors import UserError
from .pictures import PREDICTIONS, drawn
from .predictor import Predictor, show_loaded


class Options(NamedTuple):
    """How pictures are predicted and drawn.

    Args:
        opacity: Of what is painted over a picture, 0 to 1.
        score_threshold: What a box must reach.
        tile: Side of tiles; 0 for none, None for tiles where a picture is too large without.
        overlap: What neighbouring tiles share, as a part of their side.
        batch_size: How many pictures or tiles are predicted at once.
        workers: Threads that read.
        probabilities: Whether they are written.
    """

    opacity: float = 0.6
    score_threshold: float = 0.3
    tile: int | None = None
    overlap: float = 0.25
    batch_size: int = 1
    workers: int = 2
    probabilities: bool = False


DEFAULTS = Options()


class Loaded(NamedTuple):
    """A picture that is ready for the network."""

    name: str
    picture: np.ndarray  # RGB, to be drawn
    sample: dict  # as the pipeline packs it
    missing: np.ndarray | None = None  # (H, W), bool: pixels without data
    place: dict | None = None  # on Earth, as rasterio.open takes it


class Task:
    """Writes what a model predicts of pictures.

    Args:
        predictor: The opened model.
        out: The folder to write into.
        options: How.
    """

    def __init__(self, predictor: Predictor, out: Path, options: Options = DEFAULTS) -> None:
        self.predictor, self.out, self.options = predictor, out, options
        self.truth: dict[str, Any] = {}

    @staticmethod
    def outputs(pictures: dict[str, Path], out: Path, options: Options = DEFAULTS) -> list[Path]:
        """List what will be written.

        Raises:
            UserError: The options are another task's.
        """
        if options.tile or options.probabilities:
            raise UserError('--tile and --save are for segmentors: leave them out')
        return [*drawn(pictures, out), out / PREDICTIONS]

    def find_truth(self, pictures: dict[str, Path], place: str) -> None:
        """Find the truth of each picture; the base class knows none.

        Raises:
            UserError: There is none, or not of all pictures.
        """
        raise UserError(f'{place}: only segmentors and detectors show a truth, leave --truth out')

    def load(self, path: Path, name: str) -> Any:
        """Read a picture as the config's test does."""
        loaded = self.predictor.load(path)
        picture = show_loaded(loaded['img'])
        return Loaded(name, picture, self.predictor.prepare(loaded))

    def key(self, loaded: Any) -> Hashable:
        """Return what pictures of one batch share: the sizes the network and its outputs have."""
        inputs, known = loaded.sample['inputs'], loaded.sample.get('data_samples')
        if not isinstance(inputs, torch.Tensor):  # several views of a picture
            return None
        return (*inputs.shape, str(getattr(known, 'metainfo', {}).get('ori_shape')))

    def predict(self, batch: Sequence[Any]) -> list:
        """Predict pictures of one key."""
        return self.predictor.forward([loaded.sample for loaded in batch])

    def write(self, loaded: Any, found: Any) -> Any:
        """Write what was found, and return what goes into the predictions."""
        raise NotImplementedError

    def describe(self, found: Any) -> Any:
        """Turn what was found into what JSON can hold; None for what goes into no predictions."""
        raise NotImplementedError

    def paint(self, picture: np.ndarray, found: Any, show: str) -> np.ndarray:
        """Draw what was found over a frame, RGB ``(H, W, 3)``, uint8, in the same size.

        Args:
            picture: The frame.
            found: The host's data sample, of this frame or one shortly before.
            show: ``'overlay'``, or of segmentors ``'labels'``.
        """
        raise NotImplementedError
