"""Write scenes of handwritten digits as a small data set for segmentation and for detection.

The digits are the 1,797 real 8x8 pictures that scikit-learn ships (``load_digits``: Alpaydin and
Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998); nothing is downloaded. 70 % of
each class appear in training scenes only, 30 % in validation scenes only. A scene shows two to
four of them, magnified, turned, sheared and coloured, on a textured ground. Classes: 0 is the
ground, 1 + d the strokes of the digit d. The same options write the same bytes.

Pictures and label maps lie as ADE20K's do. ``annotations/instances_SPLIT.json`` lists the same
strokes digit by digit in COCO's format, with boxes and masks; category 1 + d is named 'd'.

    python tools/dataset_converters/digits.py --out data/digits
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from command import run  # noqa: E402

MARKER = 'digits.json'  # the options of a folder; says that it is ours, and whether it is complete
SPLITS = ('training', 'validation')
TRAINING_SHARE = 0.7
DIGIT_SIZE = (0.4, 0.58)  # edge of a digit, as a share of the scene's
MAX_TURN, MAX_SHEAR, MAX_STRETCH = 15.0, 0.2, 1.2  # degrees, slope, ratio
MAX_SHIFT = 0.08  # from the middle of a quarter, as a share of the scene's edge
INK = 0.4  # what counts as stroke, of full ink
GROUND, MIN_CONTRAST = 130.0, 60.0  # brightest ground; how much brighter a digit is on average


def split_digits(labels: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Indices of the digits for each split, disjoint, with equal shares of each class."""
    from sklearn.model_selection import train_test_split  # slow to import: --help needs none

    training, validation = train_test_split(
        np.arange(len(labels)), train_size=TRAINING_SHARE, stratify=labels, random_state=seed
    )
    return {'training': training, 'validation': validation}


def draw_ground(size: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth texture between two colours, with grain: ``(size, size, 3)``, float32."""
    cells = int(rng.integers(2, 9))
    weight = rng.random((cells, cells), dtype=np.float32)
    weight = cv2.resize(weight, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    first, second = rng.uniform(0, GROUND, (2, 3)).astype(np.float32)
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * rng.uniform(2, 12)
    return first + weight * (second - first) + grain.astype(np.float32)


def draw_digit(
    picture: np.ndarray, cell: tuple[int, int], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Coverage of a digit's strokes: ``(size, size)``, 0 to 1.

    Args:
        picture: The digit, ``(8, 8)``, 0 to 16.
        cell: Quarter of the scene that the digit is in, about: column and row, 0 or 1.
        size: Edge of the scene.
        rng: Source of place, size, turn, shear and stretch.
    """
    edge = size * rng.uniform(*DIGIT_SIZE)
    turn = np.deg2rad(rng.uniform(-MAX_TURN, MAX_TURN))
    stretch = MAX_STRETCH ** rng.uniform(-0.5, 0.5)
    shear = np.array([[1, rng.uniform(-MAX_SHEAR, MAX_SHEAR)], [0, 1]])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ shear @ np.diag([stretch, 1 / stretch]) * (edge / 8)
    centre = size * (0.25 + 0.5 * np.array(cell) + rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2))
    centre = np.clip(centre, edge / 2, size - edge / 2)
    # The middle of an 8x8 picture is at 3.5; it goes to the chosen place
    matrix = np.column_stack([matrix, centre - matrix @ (3.5, 3.5)])
    ink = cv2.warpAffine(
        picture.astype(np.float32) / 16, matrix, (size, size), flags=cv2.INTER_CUBIC
    )
    # A soft step: strokes as wide as drawn, edges about two pixels wide at any magnification
    return np.clip((ink - INK) * (edge / 8) / 2 + 0.5, 0, 1)


def draw_scene(
    pictures: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """One scene, its annotation, and the annotation's digits one by one.

    A digit that would touch one already placed is moved, and left out after five tries; there is
    always one.

    Returns:
        ``(size, size, 3)`` RGB; ``(size, size)`` labels; ``(size, size)`` for each digit, its
        label on its strokes and 0 elsewhere. All uint8.
    """
    image = draw_ground(size, rng)
    annotation = np.zeros((size, size), np.uint8)
    instances = []
    margin = np.ones((3, 3), np.uint8)
    for cell in rng.permutation(4)[: rng.integers(2, 5)]:
        digit = rng.choice(np.unique(labels))
        picture = pictures[rng.choice(np.flatnonzero(labels == digit))]
        for _ in range(5):
            coverage = draw_digit(picture, divmod(cell, 2), size, rng)
            strokes = (coverage > 0.5).astype(np.uint8)
            if annotation[cv2.dilate(strokes, margin, iterations=2) > 0].any():
                continue
            ground = image[strokes > 0].mean()
            colour = rng.uniform(0, 255, 3)
            while colour.mean() - ground < MIN_CONTRAST:
                colour = rng.uniform(0, 255, 3)
            image += coverage[..., None] * (colour.astype(np.float32) - image)
            instances.append(strokes * np.uint8(1 + digit))
            annotation += instances[-1]
            break
    return np.clip(image, 0, 255).astype(np.uint8), annotation, instances


def describe_instance(instance: np.ndarray) -> dict:
    """COCO's category, box, area and mask of a digit, from its label on its strokes.

    The mask is a run-length encoding as plain numbers: unlike polygons it is exact, also in holes,
    and unlike the compressed form it needs no pycocotools to be written.
    """
    strokes = instance > 0
    columns, rows = np.flatnonzero(strokes.any(0)), np.flatnonzero(strokes.any(1))
    x, y = columns[0], rows[0]
    flat = strokes.ravel(order='F')  # COCO counts down the columns, beginning with ground
    ends = np.flatnonzero(np.diff(flat, prepend=False, append=not flat[-1]))
    return {
        'category_id': int(instance.max()),
        'bbox': [int(v) for v in (x, y, columns[-1] - x + 1, rows[-1] - y + 1)],
        'area': int(strokes.sum()),
        'segmentation': {
            'size': list(strokes.shape),
            'counts': np.diff(ends, prepend=0).tolist(),
        },
        'iscrowd': 0,
    }


def write_scenes(out: Path, scenes: dict[str, int], size: int, seed: int) -> bool:
    """Write the data set unless ``out`` holds it already.

    Args:
        out: Folder of the data set.
        scenes: Number of scenes for each split.
        size: Edge of a scene, in pixels.
        seed: Decides everything that is drawn, and which digits are kept for validation.

    Returns:
        Whether anything was written.

    Raises:
        UserError: ``out`` holds something else.
    """
    from mmvit_plugins.apis.outputs import check_outputs
    from mmvit_plugins.writing import write_bytes

    check_outputs([], folders=[out])
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    options = dict(scenes=scenes, size=size, seed=seed, source=source)
    former = read_marker(out)
    is_complete = all((out / name).is_file() for name in names(scenes))
    if former == dict(options, complete=True) and is_complete:
        return False
    found = find_written(out, former['scenes'])
    if found:  # a stop from here on leaves nothing that the marker does not know
        write_marker(out, dict(former, complete=False))
    for file in found:
        file.unlink()
    write_marker(out, dict(options, complete=False))

    from rich.progress import track
    from sklearn.datasets import load_digits

    data = load_digits()
    split = split_digits(data.target, seed)
    for position, name in enumerate(SPLITS):
        pictures, labels = data.images[split[name]], data.target[split[name]]
        images, annotations = out / 'images' / name, out / 'annotations' / name
        coco = {
            'images': [],
            'annotations': [],
            'categories': [{'id': 1 + digit, 'name': str(digit)} for digit in range(10)],
        }
        for number in track(range(scenes[name]), description=name):
            rng = np.random.default_rng((seed, position, number))
            image, annotation, instances = draw_scene(pictures, labels, size, rng)
            file = f'{number:05d}.jpg'
            write(images / file, image[..., ::-1], cv2.IMWRITE_JPEG_QUALITY, 95)
            write(annotations / f'{number:05d}.png', annotation)
            coco['images'].append({'id': number, 'file_name': file, 'width': size, 'height': size})
            for instance in instances:
                ids = {'id': 1 + len(coco['annotations']), 'image_id': number}
                coco['annotations'].append(ids | describe_instance(instance))
        text = json.dumps(coco, separators=(',', ':'))
        write_bytes(text.encode(), out / f'annotations/instances_{name}.json')
    if hasattr(os, 'sync'):  # all pictures are on disk before the marker says so
        os.sync()
    write_marker(out, dict(options, complete=True))
    return True


def names(scenes: dict[str, int]) -> Iterator[str]:
    """Yield what the files of a data set are called, below its folder."""
    for split, count in scenes.items():
        yield f'annotations/instances_{split}.json'
        for number in range(count):
            yield f'images/{split}/{number:05d}.jpg'
            yield f'annotations/{split}/{number:05d}.png'


def read_marker(out: Path) -> dict:
    """Read with which options a folder was written, or begun; without a marker, with 0 scenes.

    Raises:
        UserError: The marker is damaged.
    """
    from mmvit_plugins.errors import UserError

    marker = out / MARKER
    if not marker.exists():
        return {'scenes': {}}
    try:
        options = json.loads(marker.read_text())
        if [*options['scenes']] == [*SPLITS] and all(n >= 0 for n in options['scenes'].values()):
            return options
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise UserError(
        f'{marker} is damaged, which says what digits.py has written there: remove what is in '
        f'{out}, or choose another --out'
    )


def write_marker(out: Path, options: dict) -> None:
    """Say with which options a folder is written, and whether it is complete."""
    from mmvit_plugins.writing import write_json

    write_json(options, out / MARKER)


def find_written(out: Path, scenes: dict[str, int]) -> list[Path]:
    """List the files of a data set that are there.

    Raises:
        UserError: Something else is there.
    """
    from mmvit_plugins.errors import UserError

    known = {out / name for name in names(scenes)}
    halves = {path.with_name(f'.{path.name}.part') for path in (*known, out / MARKER)}
    files = {path for path in out.rglob('*') if not path.is_dir()} - {out / MARKER}
    if others := sorted(files - known - halves):
        raise UserError(
            f'{out} holds something else than digit scenes, {others[0]}: take it away, or choose '
            'another --out'
        )
    return sorted(files)


def write(path: Path, image: np.ndarray, *options: int) -> None:
    """Write a picture, all of it or nothing."""
    from mmvit_plugins.writing import write_bytes

    write_bytes(cv2.imencode(path.suffix, image, options)[1].tobytes(), path, sync=False)


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number from ``least`` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'give a number from {least} on, not {text}')
        return int(text)

    return read


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--out', type=Path, required=True, help='folder to write, e.g. data/digits')
    add('--scenes', type=at_least(1), default=6000, help='training scenes (%(default)s)')
    add('--val-scenes', type=at_least(1), default=200, help='validation (%(default)s)')
    add('--size', type=at_least(32), default=128, help='edge in pixels (%(default)s)')
    add('--seed', type=at_least(0), default=0, help='(%(default)s)')
    return parser


def main(args: argparse.Namespace) -> None:
    """Write the scenes, say where they are."""
    scenes = dict(zip(SPLITS, (args.scenes, args.val_scenes), strict=True))
    written = write_scenes(args.out, scenes, args.size, args.seed)
    print(f'Digit scenes {"written to" if written else "are up to date in"} {args.out}')


if __name__ == '__main__':
    run(main, make_parser())
