"""Videos and cameras: each frame is predicted, and drawn into a video of the same rate."""

import logging
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log
from mmengine.utils import ProgressBar

from ..errors import UserError
from ..writing import replacing, write_json
from .pictures import PREDICTIONS
from .task import Options, Task

SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.wmv')
SHOWS = ('overlay', 'labels')
RATE = 25.0  # frames a second of a camera that does not tell


class Video(NamedTuple):
    """A video, and what is made of it.

    Args:
        source: A file, or the number of a camera.
        every: Every how many frames are predicted.
        show: One of ``SHOWS``.
        frames: After how many frames to end; None for the end of the video.
    """

    source: str
    every: int = 1
    show: str = 'overlay'
    frames: int | None = None

    @property
    def camera(self) -> int | None:
        """The number of the camera, None for a file."""
        return int(self.source) if is_camera(self.source) else None

    @property
    def name(self) -> str:
        """What the outputs are called."""
        return Path(self.source).stem if self.camera is None else f'camera_{self.camera}'

    def outputs(self, out: Path, predictions: bool) -> list[Path]:
        """List what will be written."""
        return [out / f'{self.name}.mp4', *([out / PREDICTIONS] if predictions else [])]


def is_camera(source: str) -> bool:
    """Tell whether a source is the number of a camera."""
    return source.isdecimal() and not os.path.exists(source)


def is_video(source: str) -> bool:
    """Tell whether a source is a video or a camera, and no picture or folder."""
    return is_camera(source) or (
        Path(source).suffix.lower() in SUFFIXES and not Path(source).is_dir()
    )


def check_video(video: Video, segmentation: bool, options: Options, truth: str | None) -> None:
    """Refuse what cannot be done with a video.

    Raises:
        UserError: That, or there is no such file.
    """
    if video.camera is None and not Path(video.source).is_file():
        raise UserError(f'{video.source} does not exist: give a video')
    if video.every < 1 or (video.frames is not None and video.frames < 1):
        raise UserError(f'every={video.every}, frames={video.frames}: give at least 1')
    if video.show not in SHOWS:
        raise UserError(f'show={video.show!r}: choose from {SHOWS}')
    if video.show == 'labels' and not segmentation:
        raise UserError("show='labels' is for segmentors: leave it out")
    if truth or options.tile or options.probabilities:
        raise UserError(f'{video.source} is a video: leave --truth, --tile and --save out')


def infer_video(video: Video, task: Task, out: Path) -> None:
    """Write ``OUT/<name>.mp4``, and of classifiers and detectors ``OUT/predictions.json``.

    The video has the size, the rate and all frames of the other, but no sound. What is done when
    it is interrupted is kept, which is how a camera ends.

    Args:
        video: What is read.
        task: What is done with a frame.
        out: The folder to write into.

    Raises:
        UserError: It cannot be opened, has no frames, or cannot be written.
    """
    entries: dict[str, Any] = {}
    capture = cv2.VideoCapture(video.source if video.camera is None else video.camera)
    try:
        frames = _read(video, capture)
        first = next(frames, None)
        if first is None:
            raise UserError(
                f'{_call(video)} gives no frame that can be decoded: it is empty, damaged, of an '
                'unknown format, or in use by another program'
            )
        rate = _find_rate(video, capture)
        total = 0 if video.camera is not None else int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        total = min(filter(None, (max(total, 0), video.frames)), default=0)
        bar, count = ProgressBar(total), 0
        with _open_writer(out / f'{video.name}.mp4', rate, first.shape) as writer:
            try:
                found = None
                for frame in chain([first], frames):
                    if count % video.every == 0:
                        found = _predict(task, frame)
                        entry = task.describe(found)
                        if entry is not None:
                            entries[str(count)] = entry
                    writer.write(_draw(task, frame, found, video.show))
                    count += 1
                    bar.update()
            except KeyboardInterrupt:
                print_log(f'interrupted after {count} frames, which are kept', 'current')
        if video.frames is None and count < 0.98 * total:
            text = f'{video.source} says that it has {total} frames; {count} could be decoded'
            print_log(text, 'current', logging.WARNING)
    finally:
        capture.release()
        if entries:
            write_json(entries, out / PREDICTIONS)
    print_log(f'wrote {count} frames to {out / f"{video.name}.mp4"}', 'current')


def _read(video: Video, capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yield frames, BGR ``(H, W, 3)``, uint8."""
    count = 0
    while count != video.frames:
        there, frame = capture.read()
        if not there:
            return
        yield frame
        count += 1


def _predict(task: Task, frame: np.ndarray) -> Any:
    """Predict a frame, which the config's own loader reads as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'frame.bmp')  # neither changes pixels nor takes time to pack
        cv2.imwrite(str(path), frame)
        sample = task.predictor.prepare(task.predictor.load(path, check=False))
    return task.predictor.forward([sample])[0]


def _draw(task: Task, frame: np.ndarray, found: Any, show: str) -> np.ndarray:
    """Draw over a frame; what was found may be of one shortly before."""
    picture = frame[..., ::-1] if show == 'overlay' else np.zeros_like(frame)
    return np.ascontiguousarray(task.paint(np.ascontiguousarray(picture), found, show)[..., ::-1])


def _find_rate(video: Video, capture: cv2.VideoCapture) -> float:
    """Return frames a second."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    if math.isfinite(rate) and 0 < rate <= 1000:
        return rate
    print_log(f'{_call(video)} does not tell its rate, {RATE} frames a second are taken', 'current')
    return RATE


@contextmanager
def _open_writer(path: Path, rate: float, shape: tuple[int, ...]) -> Iterator[cv2.VideoWriter]:
    """Yield what writes a video, which is then all there or not at all.

    Raises:
        UserError: This OpenCV cannot write videos.
    """
    with replacing(path, sync=False) as part:
        named = part.with_name(part.name + path.suffix)  # OpenCV goes by the ending
        size = (shape[1], shape[0])
        writer = cv2.VideoWriter(str(named), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
        try:
            if not writer.isOpened():
                raise UserError(
                    f'{path} cannot be written: this OpenCV has no encoder of MPEG-4 video, '
                    'install opencv-python-headless'
                )
            yield writer
            writer.release()
            os.replace(named, part)
        finally:
            writer.release()
            named.unlink(missing_ok=True)


def _call(video: Video) -> str:
    return video.source if video.camera is None else f'camera {video.camera}'
