"""Errors that are the user's to repair, and how the tools show them: one sentence, no traceback."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


class UserError(ValueError):
    """Says in one sentence what came, what is allowed and how to repair it."""


class DataError(ValueError):
    """Data that cannot be trained on; names the file or folder and how to repair it."""


def run_tool(main: Callable[[], None]) -> None:
    """Run a command; a user's error ends it with ``error: <sentence>`` and exit code 2.

    Errors of the program keep their traceback. ``MMVIT_TRACEBACK=1`` shows every traceback.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.exit('interrupted')
    except Exception as error:
        message = sentence(error)
        if message is None or os.environ.get('MMVIT_TRACEBACK') == '1':
            raise
        print(f'error: {message}', file=sys.stderr)  # noqa: T201
        sys.exit(2)


def sentence(error: Exception) -> str | None:
    """Return what to tell the user about an error, None if it is the program's."""
    text = str(error)
    in_worker = 'Original Traceback (most recent call last)' in text
    if in_worker:  # a loader's worker sends its traceback as text; the last entry is the message
        text = text.rsplit('Error: ', 1)[-1].strip()
    if isinstance(error, FileNotFoundError):
        return f'no such file or folder: {error.filename}' if error.filename else text
    if isinstance(error, AssertionError) and text.startswith('failed to load image'):
        return f'{text}; the file is no picture or is damaged: replace it or leave it out'
    # OpenCV and Pillow name no file
    undecoded = ('imdecode', 'cannot identify image file', 'image file is truncated')
    if any(words in text for words in undecoded) and not isinstance(error, UserError | DataError):
        return (
            'a picture or label map cannot be decoded, as it is empty, damaged or cut off: '
            'DataCheckHook(complete=True) in custom_hooks finds which'
        )
    if type(error).__module__.startswith('mmvit_plugins'):
        return text
    if isinstance(error, ValueError | ImportError) and (in_worker or _raised_by_us(error)):
        return text
    return None


def _raised_by_us(error: Exception) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(PACKAGE)
