"""What the tools share: options of the hosts' tools, and starting once the command line is read.

Nothing but the standard library is imported here, so that ``--help`` and a wrong option are
answered before torch is there.
"""

import argparse
import ast
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``; without it no tool writes over a file that is there."""
    parser.add_argument(
        '--overwrite', action='store_true', help='replace results that are there; never an input'
    )


def add_picture_arguments(parser: argparse.ArgumentParser, opacity: float, of: str) -> None:
    """Add what all tools share that draw pictures with a trained model."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('source', metavar='image', help='picture, or folder of pictures')
    parser.add_argument('--out', required=True, help='folder to write into')
    add_overwrite(parser)
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
    _keep_asserts()
    _open_streams()
    try:
        args = parser.parse_args()

        from mmengine.config import DictAction

        from mmvit_plugins.errors import run_tool

        if 'cfg_options' in args:
            plain, texts = _read_values(args.cfg_options)
            args.cfg_options = {}
            try:
                DictAction(['--cfg-options'], 'cfg_options', nargs='+')(parser, args, texts)
            except AssertionError as error:  # mmengine's, of brackets that do not close
                parser.error(f'argument --cfg-options: {error}')
            args.cfg_options |= plain
        run_tool(lambda: (main(args), sys.stdout.flush()))
    except KeyboardInterrupt:  # while the above was imported
        sys.exit('interrupted')


def _read_values(texts: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Read what mmengine reads wrong, and return the other settings as they are.

    It takes blanks out of all values, which a list may have and a path keeps, and knows no dicts.
    """
    read, others = {}, []
    for text in texts:
        key, _, value = text.partition('=')
        if re.match(r'[\[({\s]*{', value):
            try:
                read[key] = ast.literal_eval(value.strip())
                continue
            except (SyntaxError, ValueError):
                pass
        elif ' ' in value.strip() and not set(',[](){}') & {*value}:
            read[key] = value
            continue
        others.append(text)
    return read, others


def _keep_asserts() -> None:
    """Start again without ``-O`` and ``PYTHONOPTIMIZE``: the hosts look at input with asserts."""
    if sys.flags.optimize:
        former = os.environ.pop('PYTHONOPTIMIZE', None)
        options = [option for option in sys.orig_argv[1:] if option not in ('-O', '-OO')]
        if former or len(options) < len(sys.orig_argv) - 1:
            os.execv(sys.executable, [sys.executable, *options])


def _open_streams() -> None:
    """Let a tool go on where nobody reads what it says: streams closed, or as of ``| head``."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would get what is printed
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
    for name, number in (('stdout', 1), ('stderr', 2)):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f'__{name}__'):
            raw = io.BufferedWriter(_Quiet(number, 'w', closefd=False))
            like = {'encoding': stream.encoding, 'errors': stream.errors} if stream else {}
            lines = number == 2 or os.isatty(number)
            setattr(sys, name, io.TextIOWrapper(raw, **like, line_buffering=lines))


class _Quiet(io.FileIO):
    """A stream whose reader may leave: what comes then is for nobody."""

    def write(self, data: bytes) -> int:
        """Write; after a failure nothing more, as Python would try again at its end."""
        try:
            return super().write(data)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                return len(data)
            raise
