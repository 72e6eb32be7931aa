"""Strip a training checkpoint to what inference needs, and name the file after its content.

    python tools/publish_checkpoint.py work_dirs/x/iter_160000.pth afformer_tiny_ade20k.pth

writes ``afformer_tiny_ade20k-<first 8 digits of its SHA-256>.pth``, which PyTorch reads with
``weights_only=True``.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmvit_plugins.checkpoint import publish_file  # noqa: E402
from mmvit_plugins.errors import run_tool  # noqa: E402


def main() -> None:
    """Parse the arguments, publish, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='checkpoint written by a training run')
    parser.add_argument('target', help='file to write; the digits are put before its ending')
    parser.add_argument('--ema', action='store_true', help="publish the run's averaged weights")
    args = parser.parse_args()
    print(publish_file(args.source, args.target, ema=args.ema))


if __name__ == '__main__':
    run_tool(main)
