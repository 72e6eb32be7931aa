"""Videos and cameras: frames, rate, what is drawn, and what cannot be read."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('mmseg')

from pixels import PALETTE, write_segmentor  # noqa: E402

from mmvit_plugins.apis import videos  # noqa: E402
from mmvit_plugins.apis.inference import Classification, infer  # noqa: E402
from mmvit_plugins.apis.task import DEFAULTS  # noqa: E402
from mmvit_plugins.apis.videos import Video, infer_video  # noqa: E402
from mmvit_plugins.errors import UserError  # noqa: E402

RATE = 12.5


def frames(count=6, height=48, width=64):
    """Frames of one colour each, BGR."""
    colours = np.random.default_rng(0).integers(0, 256, (count, 3), np.uint8)
    return [np.tile(colour, (height, width, 1)) for colour in colours]


def write_video(path, pictures):
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), RATE, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return str(path)


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    found = []
    while (frame := capture.read())[0]:
        found.append(frame[1])
    return found, capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize('every', [1, 4])
def test_a_video_keeps_its_frames_and_rate(every, tmp_path):
    """The colours of the classes; between predicted frames the last prediction."""
    config, checkpoint, logits = write_segmentor(tmp_path)
    source = write_video(tmp_path / 'film.avi', frames())
    infer(config, checkpoint, source, str(tmp_path / 'o'), show='labels', every=every)
    found, rate = read_video(tmp_path / 'o/film.mp4')
    assert rate == RATE
    given, _ = read_video(source)
    assert len(found) == len(given) == 6
    labels = [int(logits(frame[..., ::-1])[:, 24, 32].argmax()) for frame in given]
    assert len(set(labels)) > 2
    for index, frame in enumerate(found):
        colour = frame[24, 32, ::-1].astype(int)
        expected = PALETTE[labels[index - index % every]]
        assert abs(colour - expected).max() < 12, index  # MPEG-4 rounds colours
    assert sorted(path.name for path in (tmp_path / 'o').iterdir()) == ['film.mp4']


def test_an_overlay_mixes_picture_and_classes(tmp_path):
    config, checkpoint, logits = write_segmentor(tmp_path)
    source = write_video(tmp_path / 'film.avi', frames(3))
    infer(config, checkpoint, source, str(tmp_path / 'o'), opacity=0.25, frames=2)
    found, _ = read_video(tmp_path / 'o/film.mp4')
    assert len(found) == 2
    given = read_video(source)[0][1][24, 32, ::-1].astype(float)
    label = logits(given[None, None])[:, 0, 0].argmax()
    expected = 0.75 * given + 0.25 * np.array(PALETTE[label])
    assert abs(found[1][24, 32, ::-1] - expected).max() < 12


class Camera:
    """A camera that gives frames until somebody presses Ctrl-C."""

    def __init__(self, number):
        assert number == 3
        self.rest, self.released = frames(4), False

    def read(self):
        if not self.rest:
            raise KeyboardInterrupt
        return True, self.rest.pop(0)

    def get(self, _):
        return 0.0  # many tell neither their rate nor, of course, how many frames will come

    def release(self):
        self.released = True


def test_a_camera_runs_until_it_is_interrupted(tmp_path, monkeypatch):
    """What is done is kept, whole."""
    config, checkpoint, _ = write_segmentor(tmp_path)
    made = []
    monkeypatch.setattr(cv2, 'VideoCapture', lambda number: made.append(Camera(number)) or made[0])
    infer(config, checkpoint, '3', str(tmp_path / 'o'))
    assert made[0].released
    monkeypatch.undo()
    found, rate = read_video(tmp_path / 'o/camera_3.mp4')
    assert (len(found), rate) == (4, videos.RATE)


def test_classes_are_written_over_frames_and_listed(tmp_path):
    """Of each predicted frame, by its number."""

    class Brightness(Classification):
        """Classifies without a network."""

        def __init__(self):
            self.predictor, self.options = self, DEFAULTS

        def load(self, path, check):
            return {'img': cv2.imread(str(path))}

        def prepare(self, results):
            return results

        def forward(self, samples):
            return [float(samples[0]['img'].mean())]

        def describe(self, found):
            return [{'class': 'grey', 'label': 0, 'score': found}]

    pictures = [np.full((90, 120, 3), value, np.uint8) for value in (10, 90, 170)]
    source = write_video(tmp_path / 'film.avi', pictures)
    infer_video(Video(source, every=2), Brightness(), tmp_path)
    entries = json.loads((tmp_path / 'predictions.json').read_text())
    assert {key: round(best[0]['score'], -1) for key, best in entries.items()} == {
        '0': 10,
        '2': 170,
    }
    found, _ = read_video(tmp_path / 'film.mp4')
    for frame, value in zip(found, (10, 90, 170), strict=True):
        assert abs(frame[60:].mean() - value) < 4  # below the text
        assert (frame[:24, :60] > 230).mean() > 0.3  # its paper


@pytest.mark.parametrize(
    ('content', 'options', 'words'),
    [
        (b'', {}, 'film.avi gives no frame that can be decoded'),
        (b'no video' * 99, {}, 'gives no frame that can be decoded'),
        (None, {}, 'film.avi does not exist: give a video'),
        (b'', {'every': 0}, 'every=0, frames=None: give at least 1'),
        (b'', {'tile': 64}, 'is a video: leave --truth, --tile and --save out'),
        (b'', {'show': 'masks'}, "show='masks': choose from"),
    ],
)
def test_a_video_that_cannot_be_read_is_a_sentence(content, options, words, tmp_path):
    config, checkpoint, _ = write_segmentor(tmp_path)
    if content is not None:
        (tmp_path / 'film.avi').write_bytes(content)
    with pytest.raises(UserError, match=words):
        infer(config, checkpoint, str(tmp_path / 'film.avi'), str(tmp_path / 'o'), **options)
    assert not (tmp_path / 'o').exists() or not [*(tmp_path / 'o').iterdir()]


def test_options_of_videos_are_refused_of_pictures(tmp_path):
    config, checkpoint, _ = write_segmentor(tmp_path)
    cv2.imwrite(str(tmp_path / 'picture.png'), frames(1)[0])
    with pytest.raises(UserError, match='is no video: leave --every, --show and --frames out'):
        infer(config, checkpoint, str(tmp_path / 'picture.png'), str(tmp_path / 'o'), every=2)


def test_a_cut_off_video_gives_what_can_be_decoded(tmp_path, capfd):
    config, checkpoint, _ = write_segmentor(tmp_path)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(40)]
    source = write_video(tmp_path / 'film.avi', noise)
    data = (tmp_path / 'film.avi').read_bytes()
    (tmp_path / 'film.avi').write_bytes(data[: len(data) // 2])
    infer(config, checkpoint, source, str(tmp_path / 'o'))
    found, _ = read_video(tmp_path / 'o/film.mp4')
    assert 10 < len(found) < 30
