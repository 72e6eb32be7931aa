"""Predict pictures or a video: ``tools/infer.py CONFIG CHECKPOINT SOURCE --out DIR``, any host.

SOURCE is a picture, a folder of pictures, a video, or the number of a camera.
"""

import argparse

from command import add_picture_arguments, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_picture_arguments(parser, opacity=0.6, of='painted classes and masks')
    parser.add_argument(
        '--truth',
        help='to show beside the predictions; segmentation: folder of label maps, detection: COCO '
        'file of annotations',
    )
    parser.add_argument(
        '--score-threshold',
        type=float,
        default=0.3,
        help='detection: boxes with a lower score are neither drawn nor listed (default '
        '%(default)s; 0 lists all)',
    )
    parser.add_argument(
        '--tile',
        type=int,
        metavar='PIXELS',
        help='segmentation: predict pictures larger than this by tiles of this side, in their own '
        'size, blended where they overlap (default: tiles of 512 for pictures above 64 million '
        'pixels, or 4 billion pixels times classes; 0: never)',
    )
    parser.add_argument(
        '--overlap',
        type=float,
        default=0.25,
        help='what neighbouring tiles share at least, as a part of a side (default %(default)s)',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        default=1,
        help='pictures of one size, or tiles, that are predicted at once (default %(default)s)',
    )
    parser.add_argument(
        '--workers',
        type=int,
        default=2,
        help='threads that read pictures beside computing; half as many write (default '
        '%(default)s; 0: all one by one)',
    )
    parser.add_argument(
        '--save',
        nargs='+',
        default=[],
        choices=['probabilities'],
        help='segmentation: also write OUT/probabilities/NAME.npz, or .tif for GeoTIFFs (float16)',
    )
    parser.add_argument(
        '--every',
        type=int,
        default=1,
        metavar='N',
        help='videos: predict every N-th frame; those between show the last prediction',
    )
    parser.add_argument(
        '--show',
        choices=['overlay', 'labels'],
        default='overlay',
        help='videos: paint over the frames, or (segmentation) the colours of the classes alone',
    )
    parser.add_argument(
        '--frames', type=int, metavar='N', help='videos and cameras: end after N frames'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Predict."""
    from mmvit_plugins.apis.inference import infer

    infer(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
