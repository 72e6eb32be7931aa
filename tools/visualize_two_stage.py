"""Show both looks: ``tools/visualize_two_stage.py CONFIG CHECKPOINT IMAGE --out DIR``.

For each picture what the classifier responds to, the box that it looks at again, the enlarged crop,
and the five likeliest classes of each look and of both together.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import DictAction  # noqa: E402

from mmvit_plugins.apis.two_stage import visualize_two_stage  # noqa: E402
from mmvit_plugins.errors import run_tool  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file of a TwoStageClassifier')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('source', metavar='image', help='picture, or folder of pictures')
    parser.add_argument('--out', required=True, help='folder to write into')
    parser.add_argument('--device', help='as cuda:0 or cpu; the GPU if there is one')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the response, 0 to 1')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help="settings that replace the config's"
    )
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(lambda: visualize_two_stage(**vars(parse_args())))
