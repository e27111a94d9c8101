"""Tables as CSV, aligned text and Markdown."""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

WIDTH = 110  # columns of a terminal that printed tables and their notes keep within
CSV_DECIMALS = 6


def csv_text(rows: Sequence[Sequence[Any]], decimals: int | None = CSV_DECIMALS) -> str:
    """CSV text of rows; None and NaN become empty cells.

    Args:
        rows: the heading first.
        decimals: of floats; None writes every digit.
    """

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return "" if math.isnan(value) else value if decimals is None else f"{value:.{decimals}f}"
        return "" if value is None else value

    lines = []
    for row in rows:
        buffer = io.StringIO()  # with this end of line the writer quotes a carriage return in a cell too
        csv.writer(buffer, lineterminator="\r\n").writerow([cell(value) for value in row])
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text lines of rows of equal length, columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def markdown(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Markdown table of rows of equal length, the heading first, columns padded to one width.

    Args:
        rows: cells; a vertical bar in them is escaped.
        right: numbers of the columns that are aligned to the right.
    """
    cells = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * (width - 1) + ":" if c in right else "-" * width for c, width in enumerate(widths)]
    padded = [[f"{text:{'>' if c in right else '<'}{widths[c]}}" for c, text in enumerate(row)] for row in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))


def wrapped(notes: Sequence[str]) -> list[str]:
    """Notes folded to lines of at most `WIDTH` characters."""
    return [line for note in notes for line in textwrap.wrap(note, WIDTH)]


def counted(number: int, noun: str) -> str:
    """Number and noun, in the plural where it must be: `1 patient`, `2 patients`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
