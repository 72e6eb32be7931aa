"""Tables that read well in a terminal and are valid Markdown."""

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows of text as a Markdown table: first column to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f'| {" | ".join(padded)} |'

    rule = ['-' * width if i == 0 else '-' * (width - 1) + ':' for i, width in enumerate(widths)]
    return '\n'.join([line(header), line(rule), *map(line, rows)])
