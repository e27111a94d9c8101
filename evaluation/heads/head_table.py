"""Table of chosen heads: which head of several a case has, by which rule, and each head's confidence and volume.

PREDICTIONS/chosen/    the chosen head's prediction of each case, where all heads have the same classes
            heads.csv  a row per case
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import UserError
from common.files import read_text, write_text
from common.printable import plain_cell
from common.tables import csv_text
from data_prep.labels import LabelSchema

CHOSEN, TABLE = "chosen", "heads.csv"


def table_heading(heads: Sequence[str]) -> list[str]:
    """Names of the columns."""
    return ["case", "head", "rule", *(f"confidence_{name}" for name in heads), *(f"voxels_{name}" for name in heads)]


def read_head_table(out: Path, heads: Sequence[str]) -> dict[str, list[object]]:
    """Rows of a predictions folder's heads.csv by case; none where there is no file.

    Raises:
        UserError: a table of other heads.
    """
    path = out / TABLE
    if not path.is_file():
        return {}
    heading, *rows = [*csv.reader(read_text(path, "table of heads").splitlines())] or [[]]
    if heading != table_heading(heads):
        raise UserError(
            f"{path}: expected the columns {','.join(table_heading(heads))}; received {','.join(heading) or 'none'}; choose "
            "another --out, or remove the file"
        )
    return {plain_cell(row[0]): [*map(plain_cell, row)] for row in rows if row}


def write_head_table(out: Path, heads: Sequence[str], rows: Mapping[str, list[object]]) -> None:
    """Write heads.csv, sorted by case."""
    write_text(out / TABLE, csv_text([table_heading(heads), *(rows[case] for case in sorted(rows))], decimals=6))


def has_common_classes(schemas: Sequence[LabelSchema]) -> bool:
    """True where all schemas have the same classes and ids, so that one folder can hold the predictions of any head."""
    return all(schema.to_dict() == schemas[0].to_dict() for schema in schemas)
