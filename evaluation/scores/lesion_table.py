"""Table of lesions, `per_lesion.csv`: a row for each true lesion and each false positive under a rule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

from common.errors import UserError
from common.metrics.lesion_rules import LESION_RULES
from common.tables import read_rows
from data_prep.structures import Structure
from evaluation.scores.lesions import LesionScores

PER_LESION = "per_lesion.csv"
LESION_COLUMNS = (
    *("patient", "case", "kind", "structure", "rule", "lesion", "counted", "volume_mm3", "matched"),
    *("dice", "hd95", "nsd"),
)


def lesion_rows(lesions: Sequence[tuple[str, str, LesionScores]]) -> list[list[Any]]:
    """Rows of per_lesion.csv: true lesions and false positives of every case, structure and rule.

    Args:
        lesions: (patient, case, lesion).
    """
    return [
        list(LESION_COLUMNS),
        *(
            [
                *(patient, case, each.structure.kind, each.structure.name, each.rule),
                *("true" if each.true else "false positive", each.counted, each.volume_mm3, each.matched),
                *(each.dice, each.hd95, each.nsd),
            ]
            for patient, case, each in lesions
        ),
    ]


def read_lesions(folder: Path) -> list[LesionScores]:
    """Lesions of a folder of scores, of all rules; empty where it has none.

    Raises:
        UserError: a table that is damaged or of something else.
    """
    file = folder / PER_LESION
    if not file.is_file():
        return []
    rows = read_rows(file)
    for row in rows:
        if row.get("rule", "") not in LESION_RULES:
            raise UserError(
                f"{file}: expected lesions by rules of this version ({', '.join(LESION_RULES)}); received {row.get('rule')!r}; "
                "score again"
            )
    try:
        return [
            LesionScores(
                structure=Structure(cast(Literal["region", "class", "mean"], row["kind"]), row["structure"]),
                rule=row["rule"],
                true=row["lesion"] == "true",
                counted=row["counted"] == "True",
                volume_mm3=float(row["volume_mm3"]),
                matched=row["matched"] == "True",
                **{name: float(row[name]) for name in ("dice", "hd95", "nsd")},
            )
            for row in rows
        ]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{file}: expected lesions, as glioskull score writes them; received another table ({error!r}); score again"
        ) from None
