"""Renaming the keys of a state dict by a table of patterns."""

import re
from collections.abc import Callable


def renamer(names: dict[str, str]) -> Callable[[str], str]:
    """Make the function that renames a key by the first pattern that it matches.

    Args:
        names: Modules' old names -> new names. ``{s}`` and ``{l}`` stand for a
            number, the same in both names.

    Returns:
        Renames the key of one of these modules' tensors, and passes on any other.
    """
    rules = []
    for old, new in names.items():
        pattern = re.escape(old).replace(r'\{s\}', r'(?P<s>\d+)').replace(r'\{l\}', r'(?P<l>\d+)')
        replacement = new.replace('{s}', r'\g<s>').replace('{l}', r'\g<l>')
        rules.append((re.compile(rf'^{pattern}\.(?P<leaf>\w+)$'), rf'{replacement}.\g<leaf>'))

    def rename(key: str) -> str:
        for pattern, replacement in rules:
            if pattern.match(key):
                return pattern.sub(replacement, key)
        return key

    return rename
