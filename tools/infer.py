"""Predict pictures: ``tools/infer.py CONFIG CHECKPOINT IMAGE-OR-FOLDER --out DIR``, any host."""

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
    return parser


def main(args: argparse.Namespace) -> None:
    """Predict."""
    from mmvit_plugins.apis.inference import infer

    infer(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
