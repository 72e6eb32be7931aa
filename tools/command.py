"""What the tools share: options of the hosts' tools, and starting once the command line is read.

Nothing but the standard library is imported here, so that ``--help`` and a wrong option are
answered before torch is there.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed


class Settings(argparse.Action):
    """Collects ``key=value`` texts; :func:`run` reads their values as mmengine's tools do."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Add them to those of an earlier ``--cfg-options``."""
        for text in values:
            if '=' not in text:
                raise argparse.ArgumentError(self, f'{text!r} is no setting, write key=value')
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *values])


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=Settings,
        default=[],
        metavar='KEY=VALUE',
        help='settings that replace those of the config; lists as key="[a,b]", without white space',
    )


def add_picture_arguments(parser: argparse.ArgumentParser, opacity: float, of: str) -> None:
    """Add what all tools share that draw pictures with a trained model."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('source', metavar='image', help='picture, or folder of pictures')
    parser.add_argument('--out', required=True, help='folder to write into')
    parser.add_argument('--device', help='as cuda:0 or cpu; the GPU if there is one')
    parser.add_argument('--opacity', type=float, default=opacity, help=f'of {of}, 0 to 1')
    add_settings(parser)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing share; names and meanings are the hosts'."""
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder of logs and checkpoints; ./work_dirs/CONFIG')
    parser.add_argument('--amp', action='store_true', help='mixed precision: bfloat16 on a CPU')
    parser.add_argument(
        '--no-pin-memory', action='store_true', help='no pinned memory in the data loaders'
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument(
        '--verbose',
        action='store_true',
        help='show on the screen all that goes into the log file: environment, config, hooks',
    )
    add_settings(parser)


def run(main: Callable[[argparse.Namespace], None], parser: argparse.ArgumentParser) -> None:
    """Read the command line and hand it to ``main``; a user's error ends in one sentence.

    Args:
        main: Imports what it needs itself.
        parser: Knows the tool's options.
    """
    args = parser.parse_args()

    from mmengine.config import DictAction

    from mmvit_plugins.errors import run_tool

    if 'cfg_options' in args:
        texts, args.cfg_options = args.cfg_options, {}
        try:
            DictAction(['--cfg-options'], 'cfg_options', nargs='+')(parser, args, texts)
        except AssertionError as error:  # mmengine's, of brackets that do not close
            parser.error(f'argument --cfg-options: {error}')
    run_tool(lambda: main(args))
