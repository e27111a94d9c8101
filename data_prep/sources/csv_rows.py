"""CSV as spreadsheets write it: UTF-8 with or without a byte order mark; commas, semicolons or tabs."""

import csv
from pathlib import Path

from common.errors import UserError
from common.files import read_text

SEPARATORS = ",;\t"


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table as column name -> value, both stripped; empty lines are skipped.

    Raises:
        UserError: not UTF-8, no or unclear column names, or a row of another length than the header.
    """
    text = read_text(path, "table").removeprefix("\ufeff")
    header, *rows = _cells(path, text) or [(1, [])]
    names = header[1]
    if "" in names or len(set(names)) < len(names) or not names:
        raise UserError(f"{path}: line {header[0]}: expected different column names; received {', '.join(names) or 'nothing'}")
    for line, row in rows:
        if len(row) != len(names):
            raise UserError(f"{path}: line {line}: expected {len(names)} cells, as in the header; received {len(row)}")
    return [dict(zip(names, row, strict=True)) for _, row in rows]


def _cells(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of the rows that are not empty."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(text.splitlines(keepends=True), delimiter=max(SEPARATORS, key=first.count), strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: not a CSV table ({error})") from None
    return [(line, row) for line, row in rows if any(row)]
