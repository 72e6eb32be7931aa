"""Repeat an experiment with several seeds: mean and standard deviation of OA, AA and kappa.

python tools/repeat.py configs/lsga/lsga_indian-pines.py --seeds 0-9 --jobs 2

Each seed is trained and tested in processes of its own; the same command goes on after a stop.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from mmengine.config import DictAction

from mmvit_plugins.apis.repeat import parse_seeds, repeat
from mmvit_plugins.errors import run_tool


def main() -> None:
    """Parse the command line and repeat; exit code 1 if a seed failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--seeds', required=True, help='as 0-9 or 0,2,5-7')
    parser.add_argument(
        '--jobs', type=int, default=1, help='seeds at a time, which share the cores (default 1)'
    )
    parser.add_argument('--work-dir', help='folder to write into; ./work_dirs/CONFIG_repeat')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help="settings that replace the config's"
    )
    args = parser.parse_args()
    arguments = vars(args) | {'seeds': parse_seeds(args.seeds)}
    sys.exit(0 if repeat(**arguments, tools=Path(__file__).resolve().parent) else 1)


if __name__ == '__main__':
    run_tool(main)
