"""Picture files: finding them, whether they are whole, writing what is made of them."""

import io
import logging
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from PIL import Image

from ..errors import UserError
from ..writing import write_bytes

PREDICTIONS = 'predictions.json'
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


class UnreadableError(UserError):
    """A file is damaged or no picture."""


def find_pictures(source: str) -> dict[str, Path]:
    """Find pictures: what each output is called, without its ending, and the file.

    Raises:
        UserError: There is no picture.
    """
    root = Path(source)
    if root.is_file():
        return {root.stem: root}
    files = sorted(p for p in root.rglob('*') if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        found = 'has no pictures' if root.is_dir() else 'does not exist'
        raise UserError(f'{source} {found}: give a picture or a folder of {" ".join(SUFFIXES)}')
    names: dict[str, Path] = {}
    for file in files:
        name = str(file.relative_to(root).with_suffix(''))
        names[name if name not in names else name + file.suffix] = file
    return names


def drawn(pictures: dict[str, Path], out: str | Path) -> list[Path]:
    """List what is drawn of pictures: ``OUT/<name>.png`` for each."""
    return [Path(out, f'{name}.png') for name in pictures]


def check_whole(path: Path) -> np.ndarray | None:
    """Refuse a file that is no picture, or not all of one.

    OpenCV fills what is missing of a cut off file with grey and says nothing; Pillow refuses it.
    Of several frames only the first is read, which is said.

    Returns:
        Of a picture with 16 bits, the upper 8, as it should be read; what holds floats or integers
        of 32 bits as it is; None for the others, which have 8.

    Raises:
        UnreadableError: It is not complete, or too large.
    """
    try:
        with Image.open(path) as image:
            kinds = [str(tile[3]) for tile in getattr(image, 'tile', ())]  # gone once it is loaded
            image.load()
            frames = getattr(image, 'n_frames', 1)
            wide = image.mode == 'F' or (image.mode == 'I' and image.format != 'PNG')
            deep = image.mode.startswith('I') or any(';16' in kind for kind in kinds)
            pixels = np.asarray(image) if wide or deep else None
    except Exception as error:  # each format has its own kinds
        raise UnreadableError(str(error) or type(error).__name__) from error
    if frames > 1:
        text = f'{path} has {frames} frames, of which the first is read'
        print_log(text, 'current', logging.WARNING)
    if pixels is None or (pixels.ndim == 2 and not pixels.any()):  # all black is black in 8 bits
        return None
    if wide or pixels.dtype == np.uint8:  # Pillow takes the upper 8 bits of colours
        return pixels
    return (pixels >> 8).astype(np.uint8)


def check_depth(picture: np.ndarray | None, expected: np.ndarray, path: Path) -> None:
    """Refuse a picture of more than 8 bits that 8 do not show as it is.

    Args:
        picture: As it was loaded; None where that failed.
        expected: What ``check_whole`` gave.
        path: The file.

    Raises:
        UnreadableError: It was read otherwise, or its upper 8 bits show nothing.
    """
    if picture is not None and picture.dtype != np.uint8:
        return
    if expected.dtype != np.uint8:
        raise UnreadableError(
            'it holds floats, signed integers or such of 32 bits, whose range nobody can know: '
            'save it with 8 bits'
        )
    if picture is None:
        return
    if expected.ndim == 2 and abs(picture.mean() - expected.mean()) > 2:
        raise UnreadableError(
            "it has 16 bits, which the config's decoder cuts off at 255: set imdecode_backend='cv2'"
            ' in LoadImageFromFile, or save it with 8 bits'
        )
    if expected.max() == 0:
        raise UnreadableError(
            'it has 16 bits, but no value above 255, and would be read as black: save it with 8 '
            'bits'
        )
    if expected.max() < 16:
        print_log(
            f'{path} has 16 bits, but no value above 4095, and is read as nearly black: spread the '
            'values over 0 to 65535, or save it with 8 bits',
            'current',
            logging.WARNING,
        )


def to_picture(inputs: torch.Tensor) -> np.ndarray:
    """Turn what a pipeline loads or packs, ``(C, H, W)`` in BGR, into RGB ``(H, W, 3)``, uint8.

    What the pipeline itself has normalised is stretched to what a picture can hold.

    Raises:
        UserError: It is no picture of 1 or 3 channels.
    """
    if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3 or inputs.shape[0] not in (1, 3):
        came = list(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise UserError(
            f'the test pipeline gives {came}, where one picture (1 or 3, H, W) can be shown: leave '
            'out what makes several views of it'
        )
    pixels = inputs.float()
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        pixels = (pixels - low) / ((high - low) or 1) * 255
    return pixels.flip(0).expand(3, -1, -1).permute(1, 2, 0).round().byte().numpy()


def save(image: Image.Image, path: Path) -> None:
    """Write a picture, all of it or nothing; its folder is made where needed."""
    data = io.BytesIO()
    image.save(data, Image.registered_extensions()[path.suffix.lower()])
    write_bytes(data.getvalue(), path, sync=False)
