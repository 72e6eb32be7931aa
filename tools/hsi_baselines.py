"""Score an SVM on spectra and a random forest on windows, on the splits of a config.

python tools/hsi_baselines.py configs/lsga/lsga_indian-pines.py --seeds 0-9
"""

import argparse

from command import add_overwrite, add_settings, run

BASELINES = ['svm', 'forest']


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--seeds', required=True, help='as 0-9 or 0,2,5-7')
    parser.add_argument('--only', dest='names', nargs='+', choices=BASELINES, default=BASELINES)
    parser.add_argument('--work-dir', help='folder to write into; ./work_dirs/CONFIG_baselines')
    add_overwrite(parser)
    add_settings(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Run the classifiers."""
    from mmvit_plugins.apis.baselines import run_baselines
    from mmvit_plugins.apis.repeat import parse_seeds

    args.seeds = parse_seeds(args.seeds)
    run_baselines(**vars(args))


if __name__ == '__main__':
    run(main, make_parser())
