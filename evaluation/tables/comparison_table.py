"""Text, Markdown and CSV of a comparison."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from common.metrics.metric import Scale
from common.metrics.statistics import INTERVAL
from common.tables import TableFormat, counted, folded, formatted, markdown, wrapped
from evaluation.scores.facts import SPLITS
from evaluation.tables.comparison import Cell, ColumnHead, Comparison, Difference, RowKey, scale_of, title

CSV_COLUMNS = (
    *("table", "kind", "structure", "score", "name", "minus", "split", "n", "value", "low_95", "high_95"),
    *("best", "p", "p_holm", "change", "one_sided"),
)


def format_text(comparison: Comparison) -> str:
    """Text of a comparison for a terminal; the best of a row has a star."""
    columns = comparison.columns
    heads = [[f" {line}" for line in (column.name, *_head_lines(columns, column))] for column in columns]
    table = [["", "", *line] for line in zip_longest(*heads, fillvalue="")]
    table += _body(comparison, lambda text, best: f"{'*' if best else ' '}{text}")
    parts = [[comparison.opening, "best: *", "", *folded(table, first=2)]]
    if comparison.differences:
        heading, names = _difference_head(comparison)
        parts.append([*wrapped([heading]), "", *folded([["", "", *names], *_difference_body(comparison)], first=2)])
    if comparison.gaps:
        parts.append(wrapped(comparison.gaps))
    return "\n\n".join("\n".join(part) for part in [*parts, wrapped(comparison.notes)])


def format_markdown(comparison: Comparison) -> str:
    """Markdown of a comparison; the best of a row is bold."""
    columns = comparison.columns
    heads = ["<br>".join([column.name, *_head_lines(columns, column)]) for column in columns]
    table = _body(comparison, lambda text, best: f"**{text}**" if best else text)
    parts = [f"{comparison.opening}; best in bold.", markdown([["", "", *heads], *table])]
    if comparison.differences:
        heading, names = _difference_head(comparison)
        parts += [heading, markdown([["", "", *names], *_difference_body(comparison)])]
    parts += ["\n".join(f"- {line}" for line in lines) for lines in (comparison.gaps, comparison.notes) if lines]
    return "\n\n".join(parts) + "\n"


def paste_tables(comparison: Comparison, form: TableFormat) -> str:
    """Tables of a comparison to paste: the means with the best in bold, and the differences from the first set."""
    heads = [[column.name, *_head_lines(comparison.columns, column)] for column in comparison.columns]
    rows = [["", "", *("\n".join(lines) if form == "markdown" else lines[0] for lines in heads)]]
    rows += _body(comparison, lambda text, best: f"**{text}**" if best else text)
    text = formatted([[cell.replace("\n", "<br>") for cell in row] for row in rows], form, comparison.opening)
    if comparison.differences:
        heading, names = _difference_head(comparison)
        text += "\n" + formatted([["", "", *names], *_difference_body(comparison)], form, heading)
    return text


def csv_rows(comparison: Comparison) -> list[list[Any]]:
    """Rows of a comparison with a heading: one per mean, then one per difference from the reference."""
    reference = comparison.columns[0].name
    rows: list[list[Any]] = [list(CSV_COLUMNS)]
    for key, cells in comparison.rows.items():
        best = best_columns(comparison.columns, cells, scale_of(key))
        for c, (column, cell) in enumerate(zip(comparison.columns, cells, strict=True)):
            mean = [column.split, cell.n, cell.value, cell.low, cell.high, int(c in best), None, None, None, None]
            rows.append(["mean", *key, column.name, None, *mean])
    for key, differences in comparison.differences.items():
        for column, found in zip(comparison.columns[1:], differences, strict=True):
            start = ["difference", *key, column.name, reference, column.split]
            pair = found.paired
            if pair is None:
                rows.append([*start, 0, *[None] * 7, found.one_sided])
                continue
            p = None if found.p is None else pair.p
            change = "" if found.one_sided else scale_of(key).change(pair.mean)
            rows.append([*start, pair.n, pair.mean, pair.low, pair.high, None, p, found.p, change, found.one_sided])
    return rows


def best_columns(columns: Sequence[ColumnHead], cells: Sequence[Cell], scale: Scale) -> set[int]:
    """Columns of a row that are marked: the best of each split, as printed; none of a split whose columns are equal."""
    best: set[int] = set()
    for split in SPLITS if scale.judged else ():
        shown = {
            c: round(cell.value, scale.decimals)
            for c, cell in enumerate(cells)
            if columns[c].split == split and cell.value is not None
        }
        if len(set(shown.values())) > 1:
            best |= {c for c, value in shown.items() if value == scale.best(shown.values())}
    return best


def _head_lines(columns: Sequence[ColumnHead], column: ColumnHead) -> list[str]:
    """The lines below a column's name; the split stands there where one of the columns has a slice split."""
    split = [f"{column.split} split"] if any(each.split == "slice" for each in columns) else []
    return [*split, *column.head]


def _body(comparison: Comparison, mark: Callable[[str, bool], str]) -> list[list[str]]:
    """Structure, metric and a text per column of every row; `mark` marks the best."""
    rows = []
    for key in comparison.shown:
        cells, scale = comparison.rows[key], scale_of(key)
        best = best_columns(comparison.columns, cells, scale)
        texts = ["n/a" if cell.value is None else scale.text(cell.value, cell.low, cell.high) for cell in cells]
        rows.append([title(key), scale.arrow_label, *(mark(text, c in best) for c, text in enumerate(texts))])
    return rows


def _difference_head(comparison: Comparison) -> tuple[str, list[str]]:
    """Line above the table of differences, and its columns."""
    reference = comparison.columns[0].name
    names = [
        f"{column.name} ({counted(patients, 'patient')})"
        for column, patients in zip(comparison.columns[1:], _most_pairs(comparison), strict=True)
    ]
    return f"Minus {reference}, on the patients of both: mean of the differences [{INTERVAL}], p", names


def _most_pairs(comparison: Comparison) -> list[int]:
    """Patients of the differences of each column but the first, in the row that has most."""
    columns = zip(*comparison.differences.values(), strict=True)
    return [max(each.paired.n if each.paired else 0 for each in column) for column in columns]


def _difference_body(comparison: Comparison) -> list[list[str]]:
    most = _most_pairs(comparison)
    rows = []
    for key in comparison.shown:
        texts = [_difference_text(key, found, n) for found, n in zip(comparison.differences[key], most, strict=True)]
        rows.append([title(key), scale_of(key).arrow_label, *texts])
    return rows


def _difference_text(key: RowKey, found: Difference, patients: int) -> str:
    """Difference as printed, `-0.100 [-0.120, -0.080] worse, p 0.002`, and its number of patients where not `patients`."""
    pair = found.paired
    if pair is None:
        return found.note
    share = f" (n {pair.n})" if pair.n != patients else ""
    if found.one_sided:
        difference = scale_of(key).text(pair.mean, pair.low, pair.high, signed=True)
        return f"{difference}, {found.note or f'{found.one_sided} in one set alone'}{share}"
    test = found.note if found.p is None else "p < 0.001" if found.p < 0.001 else f"p {found.p:.3f}"
    scale = scale_of(key)
    return f"{scale.text(pair.mean, pair.low, pair.high, signed=True)} {scale.change(pair.mean)}, {test}{share}"
