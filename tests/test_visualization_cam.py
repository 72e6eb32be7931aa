"""Heat maps over images, sheets of several panels, and pictures of two looks."""

import numpy as np
import pytest
from PIL import Image

from mmvit_plugins.visualization import SHADES, draw_cam, draw_two_stage
from mmvit_plugins.visualization.cam import lay_out, paint_heat
from mmvit_plugins.visualization.two_stage import FRAME


@pytest.fixture
def texts(monkeypatch):
    """Collect the places and words of everything that is written."""
    found = []
    from PIL.ImageDraw import ImageDraw

    write = ImageDraw.multiline_text

    def note(self, xy, text, *args, **options):
        found.append((xy, text))
        return write(self, xy, text, *args, **options)

    monkeypatch.setattr(ImageDraw, 'multiline_text', note)
    return found


def test_heat_is_stretched_over_the_image():
    image = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    response = np.array([[-1.0, 0.0, 1.0, 2.0]])  # clipped to 0 to 1
    painted = paint_heat(image, response, 1)
    assert painted.shape == image.shape and painted.dtype == np.uint8
    assert (painted[:, :30] == SHADES[0]).all() and (painted[:, 60:] == SHADES[255]).all()
    shades = [int(np.abs(SHADES.astype(int) - colour).sum(1).argmin()) for colour in painted[0]]
    assert shades == sorted(shades) and 100 < shades[40] < 156
    grey = image.mean(2, keepdims=True).repeat(3, 2).round()
    np.testing.assert_array_equal(paint_heat(image, response, 0), grey)
    half = paint_heat(image, np.ones((3, 3)), 0.5)
    np.testing.assert_allclose(half, grey / 2 + SHADES[255] / 2, atol=1)


def test_image_beside_its_map(texts):
    image = np.random.default_rng(0).integers(0, 256, (300, 280, 3), np.uint8)
    cam = np.random.default_rng(1).random((300, 280)).astype(np.float32)
    sheet = np.asarray(draw_cam(image, cam, ['gradcam of backbone', 'class 1']))
    top = int((sheet[:, 8] != 255).any(1).argmax())
    while (sheet[top : top + 300, 8:288] != image).any():
        top += 1
    beside = sheet[top : top + 300, 8 + 280 + 8 : 8 + 280 + 8 + 280]
    np.testing.assert_array_equal(beside, paint_heat(image, cam, 0.5))
    words = [text for _, text in texts if text]
    assert words == ['input', 'activation', 'gradcam of backbone\nclass 1']
    assert texts[-1][0][1] >= top + 300
    small = draw_cam(image[:16, :32], cam, [])
    assert small.height > 256 and small.width > 2 * 512


def test_sheets_have_room_for_all_text(texts):
    panels = {'a': np.zeros((20, 30, 3), np.uint8), 'wide title': np.zeros((50, 10, 3), np.uint8)}
    columns = [['x' * 40, 'y'], ['z']]
    sheet = lay_out(panels, ['w' * 100], columns)
    pixels = np.asarray(sheet)
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()
    (_, title), (first, _), (second, _), (right, _), lines = texts
    assert title == 'a' and lines[1] == 'w' * 100
    assert first[0] == 8 and second[0] == right[0] > 8 + 40 * 8
    assert lines[0][1] >= 50 + second[1]
    assert first[1] > lines[0][1]


def test_picture_of_two_looks(texts):
    """The frame in both pictures, inside the box; the crop as large as they are."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 100, (300, 400, 3), np.uint8)
    response = rng.random((3, 4)).astype(np.float16)
    response[0, :3] = np.nan, np.inf, -np.inf
    box = (100, 50, 250, 200)
    results = {'stage one': ['0.9  robin'], 'stage two': ['0.8  wren'], 'fused': ['0.7  jay']}
    sheet = np.asarray(draw_two_stage(image, response, box, 'ok', results, opacity=0.4))
    top = 8 + int((sheet[8:, 8] != 255).any(1).argmax())
    while (sheet[top : top + 40, 8:408] != image[:40]).any():
        top += 1
    for left in (8, 416):
        panel = sheet[top : top + 300, left : left + 400]
        framed = (panel == FRAME).all(2)
        rows, columns = framed.any(1).nonzero()[0], framed.any(0).nonzero()[0]
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (50, 199, 100, 249)
        assert not framed[60:190, 110:240].any()
    heat = sheet[top : top + 40, 416:816]
    values = np.where(np.isfinite(response), response, 0).astype(np.float32)
    low, high = np.percentile(values, (0, 99))
    np.testing.assert_array_equal(heat, paint_heat(image, (values - low) / (high - low), 0.4)[:40])
    crop = sheet[top : top + 300, 824 : 824 + 300].astype(int)
    inside = Image.fromarray(image[50:200, 100:250]).resize((300, 300), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(crop[2:-2, 2:-2], np.asarray(inside)[2:-2, 2:-2], atol=1)
    words = [text for _, text in texts]
    assert words[0::2][:3] == ['input', 'response', 'crop']
    assert words[1::2][:3] == ['stage one\n0.9  robin', 'stage two\n0.8  wren', 'fused\n0.7  jay']
    assert words[6].strip() == 'box: ok, x 100 to 250, y 50 to 200 of 400 x 300 pixels'


def test_response_without_a_number_and_a_constant_one_are_drawn():
    image = np.zeros((260, 260, 3), np.uint8)
    sheets = [
        np.asarray(draw_two_stage(image, response, (0, 0, 260, 260), 'flat', {}))
        for response in (np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.full((2, 2), 3.0))
    ]
    np.testing.assert_array_equal(sheets[0], sheets[1])
    np.testing.assert_array_equal(sheets[0], sheets[2])
