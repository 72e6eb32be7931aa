"""Show SG-Former's importance: ``tools/visualize_importance.py CONFIG CHECKPOINT IMAGE --out DIR``.

For each picture: in stages 1 to 3 the mean attention that its parts receive, and the regions by
which the next block merges its keys, drawn over what the network sees of it.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import DictAction  # noqa: E402

from mmvit_plugins.apis.importance import visualize_importance  # noqa: E402
from mmvit_plugins.errors import run_tool  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of a classifier, segmentor or detector')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('source', metavar='image', help='picture, or folder of pictures')
    parser.add_argument('--out', required=True, help='folder to write into')
    parser.add_argument(
        '--block',
        type=int,
        help='which hybrid-scale block of each stage, from 1; by default the last one of each',
    )
    parser.add_argument('--device', help='as cuda:0 or cpu; the GPU if there is one')
    parser.add_argument('--opacity', type=float, default=0.6, help='of the importance, 0 to 1')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help="settings that replace the config's"
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(lambda: visualize_importance(**vars(parse_args())))
