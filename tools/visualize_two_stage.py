"""Show both looks: ``tools/visualize_two_stage.py CONFIG CHECKPOINT IMAGE --out DIR``.

For each picture what the classifier responds to, the box that it looks at again, the enlarged crop,
and the five likeliest classes of each look and of both together.
"""

import argparse

from command import add_picture_arguments, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_picture_arguments(parser, opacity=0.5, of='the response')
    return parser


def main(args: argparse.Namespace) -> None:
    """Draw."""
    from mmvit_plugins.apis.two_stage import visualize_two_stage

    visualize_two_stage(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
