"""Time configs against each other on synthetic input, in turns within one process.

python tools/benchmark.py configs/benchmark/segformer_mit-b0_ade20k.py \
    configs/afformer/afformer_tiny_ade20k.py --variant eager --variant deploy --threads 2 --predict

python tools/benchmark.py configs/sgformer/sgformer_small_in1k.py --backbone-only --train \
    --shape 224 --shape 512 --shape 512 1024 --plot growth.png

python tools/benchmark.py configs/swin/swin_tiny_in1k.py torchvision:swin_t \
    timm:swin_tiny_patch4_window7_224 --train --flops
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

from command import add_overwrite, run

os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # the profiler's chatter, read when torch loads
DTYPES = ['float32', 'bfloat16', 'float16']


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        'configs',
        nargs='+',
        metavar='CONFIG',
        help='a config, or torchvision:NAME or timm:NAME (the extra "benchmark" installs timm); '
        'the first one is what the others relate to',
    )
    add(
        '--shape',
        type=int,
        nargs='+',
        action='append',
        metavar='PIXELS',
        help='height and width, or one number for both; once for each size',
    )
    add('--batch-size', type=int, default=1)
    add('--threads', type=int, help='CPU threads within operators; default: what torch chooses')
    add('--device', default='cpu', help='cpu, cuda or cuda:N')
    add('--dtype', choices=DTYPES, default='float32', help='the last two by autocast')
    add('--compile', action='store_true', help='torch.compile')
    add('--channels-last', action='store_true', help='weights and input in channels_last')
    add('--deploy', action='store_true', help='call switch_to_deploy() where there is one')
    add(
        '--variant',
        action='append',
        metavar='WORDS',
        help='run each config once per --variant: eager, deploy, channels_last, compile, gemm (its '
        'matrix products alone), bfloat16, float16, joined by "+"; added to the four options above',
    )
    add('--predict', action='store_true', help='time the path to the prediction as well')
    add('--train', action='store_true', help='time forward and backward in training mode as well')
    add('--flops', action='store_true', help='count the FLOPs as well')
    add('--backbone-only', action='store_true', help='leave out neck, head and localizer')
    add('--repeats', type=int, default=20, help='rounds (default %(default)s)')
    add('--warmup', type=int, default=3, help='untimed runs of each (default %(default)s)')
    add('--inner', type=int, default=1, help='runs per measurement (default %(default)s)')
    add('--seed', type=int, default=0)
    add('--json', type=Path, metavar='FILE', help='write everything that was measured')
    add(
        '--plot',
        type=Path,
        metavar='FILE',
        help='draw FLOPs, time and memory against the pixels; needs --shape twice or more',
    )
    add_overwrite(parser)
    return parser


def main(args: argparse.Namespace) -> None:
    """Measure, print the table and write the JSON file."""
    from mmvit_plugins.analysis.benchmark import Variant, compare
    from mmvit_plugins.analysis.report import PLOTS, format_benchmark, plot_growth
    from mmvit_plugins.apis.outputs import check_outputs
    from mmvit_plugins.errors import UserError
    from mmvit_plugins.writing import write_json

    if args.plot and len(args.shape or []) < 2:
        raise UserError('--plot shows how a model grows: give --shape twice or more')

    if args.plot and args.plot.suffix[1:].lower() not in PLOTS:
        raise UserError(f'--plot {args.plot}: its ending must be one of {", ".join(PLOTS)}')
    check_outputs(filter(None, (args.json, args.plot)), args.configs, args.overwrite)
    base = Variant(
        deploy=args.deploy,
        channels_last=args.channels_last,
        compile=args.compile,
        dtype=args.dtype,
    )
    result = compare(
        args.configs,
        shapes=args.shape or (),
        batch_size=args.batch_size,
        variants=[Variant.parse(words, base) for words in args.variant or ['eager']],
        modes=['tensor', *['predict'] * args.predict, *['train'] * args.train],
        backbone_only=args.backbone_only,
        flops=args.flops or bool(args.plot),
        device=args.device,
        threads=args.threads,
        repeats=args.repeats,
        warmup=args.warmup,
        inner=args.inner,
        seed=args.seed,
        progress=True,
    )
    result['command'] = shlex.join(sys.argv)
    print(format_benchmark(result))
    if args.json:
        write_json(result, args.json)
    if args.plot:
        plot_growth(result, args.plot)


if __name__ == '__main__':
    run(main, make_parser())
