"""Schema of predictions.json: what a predictions folder stores about itself, checked when it is read."""

from pathlib import Path
from typing import Any

from common.manifests import CONTENT, Fields, ListOf, MapOf, Maybe, Number, Text, Whole, read_manifest

FORMAT = 1
TRAINING = ListOf(Fields({"records": Text(least=1), "fold": Maybe(Whole(0)), "cases": ListOf(Text(least=1))}))
APPLIED = Fields(
    {},
    {
        "head": Text(),
        "setting": Text(),
        "metric": Text(),
        "structure": Text(),
        "file": Text(least=1),
        "patients": Whole(0),
        "patient_ids": ListOf(Text()),
    },
)
PREDICTIONS = Fields(
    {"cases": ListOf(Text(least=1)), "schema": Fields({"name": Text()})},
    {
        "runs": ListOf(Text(least=1)),
        "states": ListOf(Text()),
        "weights": ListOf(Fields({"file": Text(least=1), "crc32c": Text()})),
        "source": Text(least=1),
        "split": Text(("patient", "slice")),
        "training": TRAINING,
        "training_unknown": ListOf(Text()),
        "channels": MapOf(ListOf(Text(least=1))),
        "postprocessing": ListOf(APPLIED),
        "cost": Maybe(MapOf(Number())),
        "format": CONTENT,
    },
)


def read_prediction_facts(file: Path) -> dict[str, Any]:
    """Read a predictions.json.

    Raises:
        UserError: of another version, or a value of another type or range.
    """
    values: dict[str, Any] = read_manifest(file, "predictions", PREDICTIONS, FORMAT, "predict again")
    return values
