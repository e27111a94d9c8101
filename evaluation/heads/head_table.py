"""Table of chosen heads: which head of several a case has, by which rule, and each head's confidence and volume.

PREDICTIONS/chosen/    the chosen head's prediction of each case, where all heads have the same classes
            heads.csv  a row per case
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.errors import UserError
from common.files import write_text
from common.manifests import Kind, Maybe, Number, Whole, read_table
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
    columns = table_heading(heads)
    kinds: dict[str, Kind] = {name: Maybe(Number()) for name in columns if name.startswith("confidence_")}
    kinds |= {name: Maybe(Whole(0)) for name in columns if name.startswith("voxels_")}
    advice = "choose another --out, or remove the file"
    rows = read_table(path, "a table of heads", {}, kinds, advice)
    if rows and list(rows[0]) != columns:
        raise UserError(f"{path}: expected the columns {','.join(columns)}; received {','.join(rows[0])}; {advice}")
    return {row["case"]: list(row.values()) for row in rows}


def write_head_table(out: Path, heads: Sequence[str], rows: Mapping[str, list[object]]) -> None:
    """Write heads.csv, sorted by case."""
    write_text(out / TABLE, csv_text([table_heading(heads), *(rows[case] for case in sorted(rows))], decimals=6))


def has_common_classes(schemas: Sequence[LabelSchema]) -> bool:
    """True where all schemas have the same classes and ids, so that one folder can hold the predictions of any head."""
    return all(schema.to_dict() == schemas[0].to_dict() for schema in schemas)
