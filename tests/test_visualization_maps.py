"""Maps of scenes: exact colours, errors, and what a panel holds."""

import io

import numpy as np
import pytest
from PIL import Image

from mmvit_plugins.visualization.maps import (
    ERRORS,
    MAX_SIDE,
    draw_map,
    draw_panel,
    error_map,
    map_scale,
    panel_step,
    stretch,
)

PALETTE = [(255, 0, 0), (0, 0, 1), (1, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize('scale', [1, 3])
def test_a_map_has_exactly_the_colours_of_its_labels(scale):
    labels = np.random.default_rng(0).integers(0, 5, (7, 11))
    file = io.BytesIO()
    draw_map(labels, PALETTE, scale).save(file, 'PNG')
    picture = Image.open(file)
    assert picture.size == (11 * scale, 7 * scale)
    enlarged = np.kron(labels, np.ones((scale, scale), int))
    np.testing.assert_array_equal(np.asarray(picture), enlarged)  # the table's places are labels
    rgb = np.asarray(picture.convert('RGB'))
    np.testing.assert_array_equal(rgb, np.array([(0, 0, 0), *PALETTE])[enlarged])


def test_a_map_of_more_classes_than_a_colour_table_holds():
    labels = np.array([[0, 1, 255], [256, 257, 300]], np.uint16)
    palette = [(number % 256, number // 256, 7) for number in range(1, 301)]
    rgb = np.asarray(draw_map(labels, palette, 2))
    np.testing.assert_array_equal(rgb[::2, ::2], np.array([(0, 0, 0), *palette])[labels])


def test_errors():
    truth = np.array([[0, 1, 1, 2, 2, 0]])
    prediction = np.array([[1, 1, 2, 0, 1, 1]])
    training = np.array([[False, False, False, False, True, True]])
    errors = error_map(truth, prediction, training)
    # unlabelled, right, wrong, not computed, and training pixels, also where the map has no label
    np.testing.assert_array_equal(errors, [[0, 1, 2, 0, 3, 3]])
    assert list(ERRORS) == ['right', 'wrong', 'training pixel']


def test_stretch_leaves_out_the_tails_and_what_has_no_data():
    ramp = np.linspace(0, 100, 1001)
    bands = np.stack([ramp, 1000 * ramp, np.ones(1001)], -1)[None]
    bands[0, 7] = np.nan
    picture = stretch(bands)
    for band in range(2):
        assert picture[0, :20, band].max() == 0
        assert picture[0, 981:, band].min() == 255
        assert abs(int(picture[0, 500, band]) - 127) <= 1
    np.testing.assert_array_equal(picture[0, 7], 0)
    assert not stretch(np.full((2, 2, 3), np.nan)).any()


def panel_of(height, width, errors=True):
    """Draw a panel; each of its pictures is of one colour."""
    labels = np.full((height, width), 2)
    step = panel_step((height, width))
    image = np.full((-(-height // step), -(-width // step), 3), (77, 0, 77), np.uint8)
    maps = {'ground truth': labels, 'prediction': np.full((height, width), 4)}
    wrong = np.full((height, width), 2) if errors else None
    palette = [(10, 20, 30), (0, 0, 255), (40, 50, 60), (255, 128, 0)]
    classes = ['none of these', 'water', 'nor these', 'sand']
    panel = draw_panel(image, maps, wrong, classes, palette, ['OA 12.3', 'of 5 pixels'])
    return np.asarray(panel), [(77, 0, 77), palette[1], palette[3], ERRORS['wrong']]


@pytest.mark.parametrize(('height', 'width'), [(60, 40), (10, 30), (2500, 900), (1, 2)])
def test_a_panel_holds_all_pictures_at_one_size(height, width):
    panel, colours = panel_of(height, width)
    step = panel_step((height, width))
    h, w = -(-height // step), -(-width // step)
    scale = map_scale((h, w))
    assert 1 <= max(h, w) * scale <= MAX_SIDE
    boxes = []
    for colour in colours:
        rows, columns = np.nonzero((panel == colour).all(-1))
        # the legend has small boxes of the same colour further down
        rows, columns = rows[rows < rows[0] + h * scale], columns[rows < rows[0] + h * scale]
        boxes.append((rows.min(), columns.min()))
        assert len(rows) == h * scale * w * scale
    assert len(set(boxes)) == 4
    # side by side, or a wide scene below each other
    assert len({box[1 if w > 2 * h else 0] for box in boxes}) == 1


def test_the_legend_names_all_classes_and_errors_only_with_truth():
    panel, _ = panel_of(60, 40)
    plain, _ = panel_of(60, 40, errors=False)
    below = panel[-150:].reshape(-1, 3)
    for colour in ((10, 20, 30), (0, 0, 255), (40, 50, 60), (255, 128, 0), *ERRORS.values()):
        assert (below == colour).all(1).sum() > 100, colour
    for colour in ERRORS.values():
        assert (plain == colour).all(-1).sum() < 100, colour  # text has some grey


def test_scales():
    assert (map_scale((145, 145)), panel_step((145, 145))) == (2, 1)
    assert (map_scale((3000, 20)), panel_step((3000, 20))) == (1, 3)
    assert map_scale((1, 700)) == 1
