"""Show SG-Former's importance: ``tools/visualize_importance.py CONFIG CHECKPOINT IMAGE --out DIR``.

For each picture: in stages 1 to 3 the mean attention that its parts receive, and the regions by
which the next block merges its keys, drawn over what the network sees of it.
"""

import argparse

from command import add_picture_arguments, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_picture_arguments(parser, opacity=0.6, of='the importance')
    parser.add_argument(
        '--block',
        type=int,
        help='which hybrid-scale block of each stage, from 1; by default the last one of each',
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw."""
    from mmvit_plugins.apis.importance import visualize_importance

    visualize_importance(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
