"""Convert a checkpoint file between the authors' layout and ours, offline.

    python tools/convert_checkpoint.py authors.pth ours.pth
    python tools/convert_checkpoint.py ours.pth authors.pth --to official

Training and inference load the authors' files as they are; this is for files that other code will
read.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmvit_plugins.checkpoint import convert_file  # noqa: E402
from mmvit_plugins.engine.errors import run_tool  # noqa: E402


def main() -> None:
    """Parse the arguments, convert, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='checkpoint to read')
    parser.add_argument('target', help='file to write')
    parser.add_argument(
        '--to', choices=('ours', 'official'), default='ours', help='layout to write'
    )
    args = parser.parse_args()
    print(convert_file(args.source, args.target, official=args.to == 'official'))


if __name__ == '__main__':
    run_tool(main)
