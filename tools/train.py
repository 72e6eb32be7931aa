"""Train a model of any host: ``tools/train.py CONFIG [options]``; the config names the host."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmvit_plugins.apis.run import add_run_arguments, train  # noqa: E402
from mmvit_plugins.errors import run_tool  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; alone, from the newest complete one of the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='no validation while training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='learning rate times (batch size x processes) / auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='start the loaders anew each epoch'
    )
    add_run_arguments(parser)
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(lambda: train(parse_args()))
