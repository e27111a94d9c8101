"""Tables: CSV, written and read as spreadsheets write it, aligned text, Markdown and LaTeX."""

import csv
import io
import math
import re
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from common.errors import UserError
from common.files import read_text
from common.input_files import TABLE_COLUMNS
from common.printable import plain_cell, safe_cell

WIDTH = 100  # columns of a terminal that printed tables and their notes keep within
CSV_DECIMALS = 6
TableFormat = Literal["text", "markdown", "latex", "csv"]
SUFFIXES: dict[TableFormat, str] = {"text": ".txt", "markdown": ".md", "latex": ".tex", "csv": ".csv"}
LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≥": r"$\geq$",
    "<": r"$<$",
    ">": r"$>$",
    "\n": " ",
}
"""Letters that LaTeX reads as something else, and what prints them."""
SEPARATORS = ",;\t"  # of the CSV that is read
MARKDOWN_CELL = re.compile(r"(?<!\\)\|")  # a vertical bar inside a cell is escaped
SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>.)"?\s*')  # by which Excel names the separator, before the header


def csv_text(rows: Sequence[Sequence[Any]], decimals: int | None = CSV_DECIMALS) -> str:
    """CSV text of rows; None and NaN become empty cells, and text that a spreadsheet would compute has an apostrophe in front.

    Args:
        rows: the heading first.
        decimals: of floats; None writes every digit.
    """

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return "" if math.isnan(value) else value if decimals is None else f"{value:.{decimals}f}"
        return safe_cell(value) if isinstance(value, str) else "" if value is None else value

    lines = []
    for row in rows:
        buffer = io.StringIO()  # with this end of line the writer quotes a carriage return in a cell too
        csv.writer(buffer, lineterminator="\r\n").writerow([cell(value) for value in row])
        lines.append(buffer.getvalue().removesuffix("\r\n") + "\n")
    return "".join(lines)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file as column name -> value, both stripped, without empty lines and empty cells after the last column.

    UTF-8, or UTF-16 with its mark; commas, semicolons, tabs, or what a first line such as `sep=;` names.

    Raises:
        UserError: not such text, too many columns, no or unclear column names, or a row of another length than the header.
    """
    header, *rows = _cells(path, read_text(path, "table")) or [(1, [])]
    names = header[1]
    while names and not names[-1] and not any(any(row[len(names) - 1 :]) for _, row in rows):
        names = names[:-1]
    if "" in names or len(set(names)) < len(names) or not names:
        raise UserError(f"{path}: line {header[0]}: expected different column names; received {', '.join(names) or 'nothing'}")
    for line, row in rows:
        while len(row) > len(names) and not row[-1]:
            row.pop()
        if len(row) != len(names):
            raise UserError(f"{path}: line {line}: expected {len(names)} cells, as in the header; received {len(row)}")
    return [dict(zip(names, row, strict=True)) for _, row in rows]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text lines of rows of equal length, columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def folded(rows: Sequence[Sequence[str]], first: int = 1) -> list[str]:
    """Aligned lines of a table within `WIDTH`; columns without room follow in further tables, a blank line between.

    Args:
        rows: of equal length.
        first: columns that each of the tables begins with.
    """
    columns = list(zip(*rows, strict=True))
    front, rest = columns[:first], columns[first:]
    lines: list[str] = []
    while rest:
        count = len(rest)
        table = aligned(list(zip(*front, *rest, strict=True)))
        while count > 1 and max(map(len, table)) > WIDTH:
            count -= 1
            table = aligned(list(zip(*front, *rest[:count], strict=True)))
        lines += ([""] if lines else []) + table
        rest = rest[count:]
    return lines or aligned(rows)


def formatted(rows: Sequence[Sequence[str]], form: TableFormat, note: str = "") -> str:
    """Table to print or to paste.

    Args:
        rows: of equal length, the heading first; a cell in two asterisks on each side is bold.
        form: of the text.
        note: one line on what is averaged, below the table; in LaTeX a comment, in CSV left out.
    """
    plain = [[cell.removeprefix("**").removesuffix("**") for cell in row] for row in rows]
    if form == "csv":
        return csv_text(plain)
    if form == "latex":
        return latex(rows) + (f"% {note}\n" if note else "")
    if form == "markdown":
        return "\n\n".join([markdown(rows), *([note] if note else [])]) + "\n"
    return "\n".join([*folded(plain), *(["", *wrapped([note])] if note else [])]) + "\n"


def latex(rows: Sequence[Sequence[str]]) -> str:
    """LaTeX table (booktabs) of rows of equal length, the heading first; a cell in two asterisks on each side is bold."""

    def cell(text: str) -> str:
        bold = re.fullmatch(r"\*\*(.*)\*\*", text, re.DOTALL)
        escaped = "".join(LATEX.get(letter, letter) for letter in (bold[1] if bold else text))
        return rf"\textbf{{{escaped}}}" if bold else escaped

    head, *body = [" & ".join(map(cell, row)) + r" \\" for row in rows]
    columns = "l" * len(rows[0])
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


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


def markdown_rows(lines: Sequence[str]) -> list[list[str]]:
    """Rows of a Markdown table, the heading first, its cells without padding; a line break in a cell is one."""
    cells = [[cell.strip() for cell in MARKDOWN_CELL.split(line.strip())[1:-1]] for line in (lines[0], *lines[2:])]
    return [[cell.replace("\\|", "|").replace("<br>", "\n") for cell in row] for row in cells]


def latex_of(text: str) -> str:
    """Markdown text as LaTeX to paste: its tables, and all other lines as comments."""
    parts: list[str] = []
    for is_table, group in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            parts.append(latex([[cell.replace("\n", " ") for cell in row] for row in markdown_rows(list(group))]))
        else:
            parts += [f"% {line}\n" if line else "\n" for line in group]
    return "".join(parts)


def for_terminal(text: str) -> str:
    """Markdown text as a terminal has room for it: tables folded, paragraphs wrapped, bold cells with a star."""
    lines: list[str] = []
    for is_table, group in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if is_table:
            rows = markdown_rows(list(group))
            lines += folded([[re.sub(r"^\*\*(.*)\*\*$", r"*\1", cell.replace("\n", " ")) for cell in row] for row in rows])
        else:
            lines += [piece for line in group for piece in (wrapped([line]) if line else [""])]
    return "\n".join(lines)


def wrapped(notes: Sequence[str]) -> list[str]:
    """Notes folded to lines of at most `WIDTH` characters; a longer word, such as a path, keeps a line of its own."""
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, break_long_words=False, break_on_hyphens=False)]


def score_column(score: str, structure: str) -> str:
    """Column name of a structure's score: `iou_non_enhancing_tumor`."""
    return f"{score}_{structure.replace(' ', '_').replace('-', '_')}"


def counted(number: int, noun: str) -> str:
    """Number and noun, in the plural where it must be: `1 patient`, `2 patients`, `2 patches`, `2 copies`, `2 epochs`."""
    if number == 1:
        return f"1 {noun}"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{number} {noun[:-1]}ies"
    hissing = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    return f"{number} {noun}{'es' if hissing else 's'}"


def _cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of the rows that are not empty."""
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip()), "")
    named = SEPARATOR_LINE.fullmatch(first)
    if named:
        lines[lines.index(first)] = "\n"
    separator = named["separator"] if named else max(SEPARATORS, key=first.count)
    if max((line.count(separator) for line in lines), default=0) >= TABLE_COLUMNS:
        raise UserError(f"{path}: expected a table of at most {TABLE_COLUMNS} columns; received more; remove unused ones")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [plain_cell(cell.strip()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a CSV table ({error})") from None
    return [(line, row) for line, row in rows if any(row)]
