"""Schema of run.json: what a run stores about itself, checked when it is opened."""

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.manifests import CONTENT, Fields, ListOf, MapOf, Maybe, Number, Text, Whole, read_manifest

FORMAT = 3
NAME = "run.json"
COPY_AGAIN = "copy the run again from where it is whole"  # advice about its damaged files
_SIZES = ListOf(Number(0), 3, 3)
_RECORDS = Fields(
    {"path": Text(least=1), "fingerprint": Text(), "share": Number(0), "heads": ListOf(Text(least=1))},
    {
        "source": Fields({"path": Text(least=1), "layout": Text()}),
        "spacing_mm": Maybe(Fields({"low": _SIZES, "high": _SIZES})),
    },
)
_INITIAL = Fields({"path": Text(least=1)}, {"checksum": Text(), "loaded": Whole(0), "total": Whole(0)})
RUN = Fields(
    {},
    {
        "status": Text(("running", "stopped", "diverged", "finished")),
        "command": Text(least=1),
        "heads": MapOf(Fields({"kind": Text(least=1)})),
        "channels": ListOf(Text(least=1), least=1),
        "records": ListOf(_RECORDS),
        "fold": Maybe(Whole(0)),
        "split": Text(("patient", "slice")),
        "pretrained": Text(),
        "ended": Maybe(Text(("epochs", "patience", "max_minutes", "loss", "phase"))),
        "diverged": Text(),
        "weights": MapOf(ListOf(Text(least=1))),
        "settings": MapOf(Text(least=1)),
        "epoch": Whole(0),
        "best_epoch": Maybe(Whole(1)),
        "steps_per_epoch": Maybe(Whole(1)),
        "init_from": Maybe(_INITIAL),
        "wandb": Maybe(Fields({"id": Text(least=1)})),
        "format": CONTENT,
    },
)
"""Keys of run.json; those of the end of a training come later, so that each is refused where it lacks and is asked for."""


class Facts(dict[str, Any]):
    """Values of run.json by key; a key that lacks is refused in one line."""

    def __init__(self, file: Path, values: dict[str, Any]) -> None:
        super().__init__(values)
        self._file = file

    def __missing__(self, key: str) -> Any:
        raise UserError(f"{self._file}: {key}: expected this key of a run; received {', '.join(self)[:100]}; {COPY_AGAIN}")


def read_run_facts(file: Path) -> Facts:
    """Read a run.json.

    Raises:
        UserError: of another version, or a value of another type or range.
    """
    return Facts(file, read_manifest(file, "a run", RUN, FORMAT, COPY_AGAIN))
