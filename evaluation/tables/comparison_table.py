"""A comparison as text, Markdown and CSV."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from evaluation.tables.comparison import TITLES, Cell, Column, Comparison, Difference, best_columns, counted, title
from evaluation.tables.patients import PERCENT, wrapped

CSV_COLUMNS = (
    *("table", "kind", "structure", "score", "name", "minus", "split", "n", "value", "low_95", "high_95"),
    *("best", "p", "p_holm"),
)


def format_text(comparison: Comparison) -> str:
    """The comparison as text for a terminal; the best of a row has a star."""
    columns = comparison.columns
    heads = [[f" {line}" for line in (column.name, *_head_lines(columns, column))] for column in columns]
    table = [["", "", *line] for line in zip_longest(*heads, fillvalue="")]
    table += _body(comparison, lambda text, best: f"{'*' if best else ' '}{text}")
    parts = [[comparison.opening, "best: *", "", *_aligned(table)]]
    if comparison.differences:
        heading, names = _difference_head(comparison)
        parts.append([heading, "", *_aligned([["", "", *names], *_difference_body(comparison)])])
    if comparison.gaps:
        parts.append(wrapped(comparison.gaps))
    return "\n\n".join("\n".join(part) for part in [*parts, wrapped(comparison.notes)])


def format_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown; the best of a row is bold."""
    columns = comparison.columns
    heads = ["<br>".join([_escaped(column.name), *_head_lines(columns, column)]) for column in columns]
    table = _body(comparison, lambda text, best: f"**{text}**" if best else text)
    parts = [f"{comparison.opening}; best in bold.", _markdown_table(heads, table)]
    if comparison.differences:
        heading, names = _difference_head(comparison)
        parts += [heading, _markdown_table([_escaped(name) for name in names], _difference_body(comparison))]
    parts += ["\n".join(f"- {line}" for line in lines) for lines in (comparison.gaps, comparison.notes) if lines]
    return "\n\n".join(parts) + "\n"


def csv_rows(comparison: Comparison) -> list[list[Any]]:
    """The comparison as rows with a heading: one per mean, then one per difference from the reference."""
    reference = comparison.columns[0].name
    rows: list[list[Any]] = [list(CSV_COLUMNS)]
    for key, cells in comparison.rows.items():
        best = best_columns(comparison.columns, cells)
        for c, (column, cell) in enumerate(zip(comparison.columns, cells, strict=True)):
            mean = [column.split, cell.n, cell.value, cell.low, cell.high, int(c in best), None, None]
            rows.append(["mean", *key, column.name, None, *mean])
    for key, differences in comparison.differences.items():
        for column, found in zip(comparison.columns[1:], differences, strict=True):
            rows.append(["difference", *key, column.name, reference, column.split, *_difference_values(found)])
    return rows


def _head_lines(columns: Sequence[Column], column: Column) -> list[str]:
    """The lines below a column's name; the split stands there where one of the columns has a slice split."""
    split = [f"{column.split} split"] if any(each.split == "slice" for each in columns) else []
    return [*split, *column.head]


def _body(comparison: Comparison, mark: Callable[[str, bool], str]) -> list[list[str]]:
    """Title, score and a text per column of every row; `mark` tells the best."""
    rows = []
    for key, cells in comparison.rows.items():
        best = best_columns(comparison.columns, cells)
        texts = [mark(_cell_text(cell), c in best) for c, cell in enumerate(cells)]
        rows.append([title(key), TITLES.get(key[2], key[2]), *texts])
    return rows


def _cell_text(cell: Cell) -> str:
    if cell.value is None:
        return "n/a"
    interval = "" if cell.low is None or cell.high is None else f" [{cell.low:.3f}, {cell.high:.3f}]"
    return f"{cell.value:.3f}{interval}"


def _difference_head(comparison: Comparison) -> tuple[str, list[str]]:
    """The line above the table of differences, and its columns."""
    reference = comparison.columns[0].name
    first = next(iter(comparison.differences.values()))
    names = [
        f"{column.name} ({counted(found.paired.n if found.paired else 0, 'patient')})"
        for column, found in zip(comparison.columns[1:], first, strict=True)
    ]
    return f"Minus {reference}, on the patients of both: mean of the differences [{PERCENT} bootstrap interval], p", names


def _difference_body(comparison: Comparison) -> list[list[str]]:
    return [
        [title(key), TITLES.get(key[2], key[2]), *(_difference_text(found) for found in differences)]
        for key, differences in comparison.differences.items()
    ]


def _difference_values(found: Difference) -> list[Any]:
    """Patients, mean, low, high, best (of which a difference has none), p and corrected p."""
    if found.paired is None:
        return [0, *[None] * 6]
    pair = found.paired
    return [pair.n, pair.mean, pair.low, pair.high, None, None if found.p is None else pair.p, found.p]


def _difference_text(found: Difference) -> str:
    if found.paired is None:
        return found.note
    pair = found.paired
    interval = "" if pair.low is None or pair.high is None else f" [{pair.low:+.3f}, {pair.high:+.3f}]"
    return f"{pair.mean:+.3f}{interval}, {_p_text(found)}"


def _p_text(found: Difference) -> str:
    if found.p is None:
        return f"p {found.note}" if found.note == "too few" else found.note
    return "p < 0.001" if found.p < 0.001 else f"p {found.p:.3f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines with columns two blanks apart."""
    widths = [max(len(row[c]) for row in table) for c in range(len(table[0]))]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [["", "", *heads], ["---"] * (len(heads) + 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(name: str) -> str:
    """A name that cannot end a cell of a Markdown table."""
    return name.replace("|", "\\|")
