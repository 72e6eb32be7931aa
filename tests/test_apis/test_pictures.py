"""Pictures of more than 8 bits are shown as they are, or refused; what 8 bits hold passes."""

from pathlib import Path

import mmcv
import numpy as np
import pytest
from PIL import Image

from mmvit_plugins.apis import pictures
from mmvit_plugins.apis.pictures import UnreadableError, check_depth, check_whole

GREY = np.random.RandomState(0).randint(1, 256, (20, 30)).astype(np.uint8)
COLOUR = np.random.RandomState(1).randint(0, 256, (20, 30, 3)).astype(np.uint8)


def load(path, backend='cv2'):
    """As the predictor does; return the grey values or colours as they are loaded."""
    deep = check_whole(path)
    picture = mmcv.imfrombytes(Path(path).read_bytes(), backend=backend)
    if deep is not None:
        check_depth(picture, deep, path)
    return picture


@pytest.mark.parametrize('ending', ['png', 'tif'])
@pytest.mark.parametrize('colour', [False, True])
def test_16_bits_are_read_as_their_upper_8(tmp_path, ending, colour):
    path = tmp_path / f'deep.{ending}'
    source = COLOUR if colour else GREY
    mmcv.imwrite(source.astype(np.uint16) * 257, str(path))
    np.testing.assert_array_equal(
        load(path).reshape(20, 30, 3)[..., 0], source.reshape(20, 30, -1)[..., 0]
    )


def test_16_bits_that_are_cut_off_or_show_nothing(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(pictures, 'print_log', lambda text, *_: said.append(text))
    path = tmp_path / 'deep.png'
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path)
    with pytest.raises(UnreadableError, match="cuts off at 255: set imdecode_backend='cv2'"):
        load(path, 'pillow')
    Image.fromarray(GREY.astype(np.uint16)).save(path)
    with pytest.raises(UnreadableError, match='no value above 255'):
        load(path)
    assert said == []
    Image.fromarray(GREY.astype(np.uint16) * 16).save(path)
    load(path)
    assert 'no value above 4095, and is read as nearly black' in said[0]
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    load(path)  # black it is


@pytest.mark.parametrize('kind', [np.float32, np.int32])
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_floats_and_32_bits_are_refused(tmp_path, kind, backend):
    path = tmp_path / 'float.tif'
    Image.fromarray(GREY.astype(kind)).save(path)
    with pytest.raises(UnreadableError, match='it holds floats, signed integers or such of 32'):
        load(path, backend)


def test_what_the_config_reads_as_floats_passes(tmp_path):
    path = tmp_path / 'float.tif'
    Image.fromarray(GREY.astype(np.float32)).save(path)
    check_depth(GREY.astype(np.float32), check_whole(path), path)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'])
def test_other_pictures_are_what_pillow_sees(tmp_path, mode):
    path = tmp_path / ('picture.tif' if mode == 'CMYK' else 'picture.png')
    picture = Image.fromarray(COLOUR).convert(mode)
    picture.save(path)
    assert check_whole(path) is None
    expected = np.array(picture.convert('RGB'))[..., ::-1].astype(int)
    assert abs(load(path) - expected).max() <= 1


def test_further_frames_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(pictures, 'print_log', lambda text, *_: said.append(text))
    path = tmp_path / 'moving.webp'
    Image.fromarray(COLOUR).save(
        path, save_all=True, append_images=[Image.fromarray(COLOUR[::-1].copy())]
    )
    check_whole(path)
    assert said == [f'{path} has 2 frames, of which the first is read']


@pytest.mark.parametrize('content', [b'', b'hello', b'\x89PNG\r\n\x1a\n' + b'\0' * 50])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / 'none.png'
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        check_whole(path)


def test_a_decompression_bomb_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / 'bomb.png'
    Image.new('1', (2000, 2000)).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(UnreadableError, match='decompression bomb'):
        check_whole(path)
