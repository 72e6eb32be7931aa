"""Predict pictures: ``tools/infer.py CONFIG CHECKPOINT IMAGE-OR-FOLDER --out DIR``, any host."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import DictAction  # noqa: E402

from mmvit_plugins.apis.inference import infer  # noqa: E402
from mmvit_plugins.errors import run_tool  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('source', help='picture, or folder of pictures')
    parser.add_argument('--out', required=True, help='folder to write into')
    parser.add_argument('--device', help='as cuda:0 or cpu; the GPU if there is one')
    parser.add_argument(
        '--opacity', type=float, default=0.6, help='of painted classes and masks, 0 to 1'
    )
    parser.add_argument(
        '--truth',
        help='to show beside the predictions; segmentation: folder of label maps, detection: COCO '
        'file of annotations',
    )
    parser.add_argument(
        '--score-threshold',
        type=float,
        default=0.3,
        help='detection: boxes with a lower score are neither drawn nor listed (default '
        '%(default)s; 0 lists all)',
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help="settings that replace the config's"
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(lambda: infer(**vars(parse_args())))
