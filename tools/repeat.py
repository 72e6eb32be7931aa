"""Repeat an experiment with several seeds: mean and standard deviation of OA, AA and kappa.

python tools/repeat.py configs/lsga/lsga_indian-pines.py --seeds 0-9 --jobs 2

Each seed is trained and tested in processes of its own; the same command goes on after a stop.
"""

import argparse
import sys
from pathlib import Path

from command import add_overwrite, add_settings, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--seeds', required=True, help='as 0-9 or 0,2,5-7')
    parser.add_argument(
        '--jobs', type=int, default=1, help='seeds at a time, which share the cores (default 1)'
    )
    parser.add_argument('--work-dir', help='folder to write into; ./work_dirs/CONFIG_repeat')
    add_overwrite(parser)
    add_settings(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Repeat; exit code 1 if a seed failed."""
    from mmvit_plugins.apis.repeat import parse_seeds, repeat

    args.seeds = parse_seeds(args.seeds)
    sys.exit(0 if repeat(**vars(args), tools=Path(__file__).resolve().parent) else 1)


if __name__ == '__main__':
    run(main, make_parser())
