"""Pictures of boxes: where lines, masks and labels are, on small and large pictures."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmvit_plugins.visualization import Boxes, boxes, draw_detection, paint_boxes

RED, GREEN = (220, 20, 20), (20, 220, 20)
GREY = 90
TOP, LEFT = 35, 8  # of the first panel


def panel(sheet: Image.Image, height: int, width: int, index: int = 0) -> np.ndarray:
    left = LEFT + index * (width + 8)
    return np.asarray(sheet)[TOP : TOP + height, left : left + width]


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


@pytest.fixture
def texts(monkeypatch):
    """Collect what is written: position and text."""
    written, draw_text = [], ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        'text',
        lambda self, xy, text, *args, **kw: (
            written.append((xy, text)),
            draw_text(self, xy, text, *args, **kw),
        ),
    )
    return written


@pytest.mark.parametrize(('height', 'width', 'scale'), [(64, 96, 4), (128, 128, 2), (480, 640, 1)])
def test_frames_lie_on_their_boxes(height, width, scale):
    box = (width // 4, height // 2, width // 2, height * 3 // 4)
    sheet = draw_detection(
        grey(height, width), {'prediction': Boxes(np.array([box]), np.array([0]))}, ['a'], [RED]
    )
    pixels = panel(sheet, height * scale, width * scale)
    left, top, right, bottom = (side * scale for side in box)
    for y, x in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)):
        assert tuple(pixels[y, x]) == RED
        assert tuple(pixels[y + 1 if y == top else y - 1, x + 1 if x == left else x - 1]) == RED
    outside = pixels[bottom + 2 :], pixels[:, : left - 2], pixels[:, right + 2 :]
    inside = pixels[top + 4 : bottom - 4, left + 4 : right - 4]
    for part in (inside, *outside):
        assert (part == GREY).all() and part.size


def test_labels_stay_in_the_picture_and_keep_clear(monkeypatch):
    """At every border, for the whole picture, one on another, and with a name that is too long."""
    places, place = [], boxes._place
    monkeypatch.setattr(boxes, '_place', lambda *args: (places.append(place(*args)), places[-1])[1])
    corners = [(0, 0, 90, 60), (560, 0, 640, 50), (0, 440, 30, 480), (610, 430, 640, 480)]
    corners += [(0, 0, 640, 480), *[(200, 200, 400, 300)] * 4, (638, 478, 640, 480)]
    names = ['cat', 'x' * 200]
    found = Boxes(np.array(corners), np.array([0, 1] * 5), np.linspace(0.9, 0.3, 10))
    draw_detection(grey(480, 640), {'prediction': found}, names)
    assert len(places) == 10
    for left, top, right, bottom in places:
        assert 0 <= left < right <= 640 and 0 <= top < bottom <= 480
    same = places[5:9:2]
    assert boxes._overlap(*same) == 0


def test_names_scores_legend_and_colours(texts):
    """Without a palette colours differ, without a name there is the number; truth has no score."""
    truth = Boxes(np.array([(5, 40, 60, 80)]), np.array([1]))
    none = Boxes(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    found = Boxes(np.array([(5, 40, 60, 80)] * 2), np.array([0, 7]), np.array([0.456, 0.9]))
    panels = {'truth': truth, 'prediction': found, 'other': none}
    sheet = draw_detection(grey(300, 300), panels, ['cat', 'traffic light'])
    labels = [text for _, text in texts]
    assert labels == [
        *('traffic light', '7 0.90', 'cat 0.46'),
        *('truth: 1 box', 'prediction: 2 boxes', 'other: no boxes'),
        *('cat', 'traffic light', '7'),
    ]
    assert sheet.width == 3 * 308 + 8
    assert (panel(sheet, 300, 300, 2) == GREY).all()
    assert len({boxes._colour(k, None) for k in range(1000)}) > 900


def test_masks_are_painted_and_edged():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 10:40, 10:40] = True
    found = Boxes(np.array([(10, 10, 40, 40)]), np.array([1]), np.array([0.5]), mask)
    sheet = draw_detection(grey(64, 64), {'prediction': found}, 'ab', [RED, GREEN], 0.5)
    pixels = panel(sheet, 256, 256)
    mixed = np.round((np.array(GREEN) + GREY) / 2)
    np.testing.assert_array_equal(pixels[110:150, 60:150].reshape(-1, 3) - mixed, 0)
    plain = draw_detection(grey(64, 64), {'prediction': found}, 'ab', [RED, GREEN], 0)
    assert (panel(plain, 256, 256)[110:150, 60:150] == GREY).all()


def test_boxes_on_frames_are_those_of_pictures():
    """Without a title and a legend, in the picture's own size."""
    image, names = grey(300, 400), ['cat', 'dog']
    found = Boxes(np.array([[20, 30, 200, 250]]), np.array([1]), np.array([0.75]))
    frame = paint_boxes(image, found, names)
    sheet = draw_detection(image, {'prediction': found}, names)
    np.testing.assert_array_equal(panel(sheet, 300, 400), frame)
    assert (frame != image).any()
