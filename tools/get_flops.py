"""Print parameters and FLOPs of a config of any host, or of a network of torchvision or timm.

python tools/get_flops.py configs/afformer/afformer_base_ade20k.py --shape 512 512
python tools/get_flops.py torchvision:swin_t
"""

import argparse
import json
import sys
from contextlib import redirect_stdout

from command import run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'config',
        help="config of any host's model, or of a backbone; or torchvision:NAME, timm:NAME",
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        metavar='PIXELS',
        help='height and width, or one number for both; default: what the config is made for',
    )
    parser.add_argument(
        '--backbone-only', action='store_true', help='leave out neck, head and localizer'
    )
    parser.add_argument('--json', action='store_true', help='print JSON, not text')
    return parser


def main(args: argparse.Namespace) -> None:
    """Print the count."""
    from mmvit_plugins.analysis.flops import count_config, format_flops

    with redirect_stdout(sys.stderr):  # hosts log to stdout while they build
        result = count_config(args.config, args.shape, args.backbone_only)
    print(json.dumps(result, indent=2) if args.json else format_flops(result))


if __name__ == '__main__':
    run(main, make_parser())
