"""Convert a checkpoint file between the layouts of the authors, mmpretrain, timm and ours, offline.

    python tools/convert_checkpoint.py authors.pth ours.pth
    python tools/convert_checkpoint.py ours.pth authors.pth --to official
    python tools/convert_checkpoint.py swin_base_22k.pth 1k.pth --class-map map22kto1k.txt

Training and inference load all these files as they are; this is for files that other code will
read, and for a classifier of fewer classes than the file's.
"""

import argparse

from command import add_overwrite, run

LAYOUTS = ['ours', 'official', 'pim', 'mmpretrain', 'timm', 'torchvision', 'huggingface']


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='checkpoint to read')
    parser.add_argument('target', help='file to write')
    parser.add_argument(
        '--to',
        choices=LAYOUTS,
        default='ours',
        help='layout to write; mmpretrain is for mmsegmentation and mmdetection too',
    )
    parser.add_argument(
        '--class-map',
        metavar='FILE',
        help="classes to keep: a text file with one index of the file's classifier a line",
    )
    add_overwrite(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Convert, report."""
    from mmvit_plugins.apis.outputs import check_outputs
    from mmvit_plugins.checkpoint import convert_file

    check_outputs([args.target], [args.source, args.class_map], args.overwrite)
    print(convert_file(args.source, args.target, args.to, args.class_map))


if __name__ == '__main__':
    run(main, make_parser())
