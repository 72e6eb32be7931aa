"""Show what speaks for a class: ``tools/visualize_cam.py CONFIG CHECKPOINT IMAGE --out DIR``.

For each picture a class-activation map of a classifier, segmentor or detector, drawn over what the
network sees of it.
"""

import argparse

from command import add_picture_arguments, run

METHODS = 'gradcam, gradcam++, xgradcam, hirescam, layercam, eigengradcam, eigencam, scorecam'


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_picture_arguments(parser, opacity=0.5, of='the map')
    parser.add_argument('--method', default='gradcam', help=METHODS)
    parser.add_argument(
        '--layer', help="dotted path of the module to explain; by default the backbone's last map"
    )
    parser.add_argument(
        '--target', help='number or name of the class; by default the one that is predicted'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw."""
    from mmvit_plugins.apis.cam import visualize_cam

    visualize_cam(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
