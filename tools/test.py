"""Evaluate a checkpoint of any host: ``tools/test.py CONFIG CHECKPOINT [options]``."""

import argparse

from command import add_overwrite, add_run_arguments, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out',
        help='segmentation: folder for the predicted label maps; else: file for predictions (.pkl)',
    )
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out FILE receives; segmentation too then writes a file, not label maps',
    )
    parser.add_argument('--show', action='store_true', help='show the results in a window')
    parser.add_argument('--show-dir', help='folder for painted pictures')
    parser.add_argument('--interval', type=int, default=1, help='paint every n-th picture')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds that a window stays')
    add_overwrite(parser)
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    return parser


def main(args: argparse.Namespace) -> None:
    """Evaluate."""
    from mmvit_plugins.apis.run import test

    test(args)


if __name__ == '__main__':
    run(main, make_parser())
