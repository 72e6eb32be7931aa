"""Score an SVM on spectra and a random forest on windows, on the splits of a config.

python tools/hsi_baselines.py configs/lsga/lsga_indian-pines.py --seeds 0-9
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed

from mmengine.config import DictAction

from mmvit_plugins.apis.baselines import BASELINES, run_baselines
from mmvit_plugins.apis.repeat import parse_seeds
from mmvit_plugins.errors import run_tool


def main() -> None:
    """Parse the command line and run the classifiers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--seeds', required=True, help='as 0-9 or 0,2,5-7')
    parser.add_argument(
        '--only', dest='names', nargs='+', choices=BASELINES, default=list(BASELINES)
    )
    parser.add_argument('--work-dir', help='folder to write into; ./work_dirs/CONFIG_baselines')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help="settings that replace the config's"
    )
    args = parser.parse_args()
    run_baselines(**vars(args) | {'seeds': parse_seeds(args.seeds)})


if __name__ == '__main__':
    run_tool(main)
