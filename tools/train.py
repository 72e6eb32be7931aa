"""Train a model of any host: ``tools/train.py CONFIG [options]``; the config names the host."""

import argparse

from command import add_run_arguments, run


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; alone, from the newest complete one of the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='no validation while training')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='learning rate times (batch size x processes) / auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--no-persistent-workers', action='store_true', help='start the loaders anew each epoch'
    )
    return parser


def main(args: argparse.Namespace) -> None:
    """Train."""
    from mmvit_plugins.apis.run import train

    train(args)


if __name__ == '__main__':
    run(main, make_parser())
