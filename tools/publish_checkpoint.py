"""Strip a training checkpoint to what inference needs, and name the file after its content.

    python tools/publish_checkpoint.py work_dirs/x/iter_160000.pth afformer_tiny_ade20k.pth

writes ``afformer_tiny_ade20k-<first 8 digits of its SHA-256>.pth``, which PyTorch reads with
``weights_only=True``.
"""

import argparse
from pathlib import Path

from command import run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='checkpoint written by a training run')
    parser.add_argument('target', help='file to write; the digits are put before its ending')
    parser.add_argument('--ema', action='store_true', help="publish the run's averaged weights")
    return parser


def main(args: argparse.Namespace) -> None:
    """Publish, report."""
    from mmvit_plugins.apis.outputs import check_outputs
    from mmvit_plugins.checkpoint import publish_file

    check_outputs([], folders=[Path(args.target).parent])  # a file of its name is the same
    print(publish_file(args.source, args.target, ema=args.ema))


if __name__ == '__main__':
    run(main, make_parser())
