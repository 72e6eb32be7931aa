"""What a run shows on the screen: its progress and results. All else is in the log file."""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Of mmengine and the hosts: hundreds of lines, and what a user can do nothing about
HIDDEN = (
    r'\n-+\nSystem environment:',
    r'Config:\n',
    r'Hooks will be executed',
    r'Exp name:',
    r'Checkpoints will be saved',
    r'Distributed training is not used',
    r'The prefix is not set in metric class',
    r'"FileClient" will be',
    r'"HardDiskBackend" is the alias',
    r'Load checkpoint from',
)
WARNINGS = ('Default ``avg_non_ignore`` is False', 'The draw is False')


class _Brief(logging.Filter):
    """Lets pass what is worth a look while a run goes on."""

    hidden = re.compile('|'.join(HIDDEN))

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.hidden.match(record.getMessage())


def stop_on_errors(logger: logging.Logger) -> None:
    """End a run whose log file cannot be written; logging would show a traceback for each line."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = _raise  # type: ignore[method-assign]


def _raise(_: logging.LogRecord) -> None:
    error = sys.exc_info()[1]
    if error is not None:
        raise error


def keep_brief(logger: logging.Logger) -> None:
    """Leave what is long or idle to the log file; the screen gets the rest."""
    for handler in logger.handlers:
        if type(handler) is logging.StreamHandler:
            handler.addFilter(_Brief())


@contextmanager
def without_idle_warnings() -> Iterator[None]:
    """Silence warnings of the hosts that a user can do nothing about."""
    with warnings.catch_warnings():
        for message in WARNINGS:
            warnings.filterwarnings('ignore', message)
        yield
