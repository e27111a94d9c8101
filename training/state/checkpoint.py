"""Exact state: everything that decides how a training goes on, in one file, so that resumed equals uninterrupted.

Keras' own files leave out the state of every dropout's random generator, which `model.variables` holds. Variables are stored
by position, because their names change from one build of a model to the next; count and shapes are checked on the way back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.files import write_serialised
from common.finite import NotFinite, first_not_finite
from common.manifests import CONTENT, Fields, Kind, ListOf, MapOf, Maybe, Number, Whole, checked
from common.packed_arrays import read_npz
from common.tables import counted
from common.yaml_loader import parse_json
from training.phases import Phase

if TYPE_CHECKING:
    import keras

KEPT = 2  # states of the last epochs that stay on disk
ADVICE = "delete it to go on from the one before"
PROGRESS = Fields(
    {},
    {
        "epoch": Whole(0),
        "best": Maybe(Number()),
        "best_epoch": Maybe(Whole(1)),
        "minutes": Number(0),
        "history": ListOf(MapOf(Number(or_nan=True))),
        "phase": Whole(1),
        "phase_epoch": Whole(0),
        "waited": Whole(0),
    },
)


@dataclass
class Progress:
    """Progress of a training.

    Attributes:
        epoch: epochs that are finished, of all phases.
        best: best value of the monitored score, or None before there is one.
        best_epoch: the epoch it was reached, counted from 1.
        minutes: training time so far, over all resumes.
        history: one row of scores per finished epoch.
        phase: number of the phase that is trained, counted from 1.
        phase_epoch: finished epochs of that phase.
        waited: epochs of that phase since the monitored score was last better.
    """

    epoch: int = 0
    best: float | None = None
    best_epoch: int | None = None
    minutes: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    phase: int = 1
    phase_epoch: int = 0
    waited: int = 0

    def begin_phase(self, number: int) -> None:
        """Count the epochs of the next phase."""
        self.phase, self.phase_epoch, self.waited = number, 0, 0

    def is_over(self, phases: Sequence[Phase]) -> bool:
        """True where all epochs of the last phase are done."""
        return self.phase == len(phases) and self.phase_epoch >= phases[-1].epochs

    def has_used(self, max_minutes: float | None) -> bool:
        """True where another epoch, as long as those before on average, would pass the limit; it is never the first one."""
        return max_minutes is not None and self.epoch > 0 and self.minutes * (1 + 1 / self.epoch) > max_minutes

    def is_out_of_patience(self, phase: Phase) -> bool:
        """True where the phase has gone on for too many epochs without a better score."""
        return phase.patience is not None and self.best_epoch is not None and self.waited >= phase.patience

    def is_phase_over(self, phase: Phase, phases: Sequence[Phase]) -> bool:
        """True where nothing is left to train of a phase; the last one goes on after its patience, if it is resumed."""
        return self.phase_epoch >= phase.epochs or (phase.number < len(phases) and self.is_out_of_patience(phase))


def save_state(folder: Path, model: "keras.Model", progress: Progress) -> Path:
    """Write the state after an epoch and drop all but the last two.

    Args:
        folder: `state/` of the run.
        model: compiled; its variables and its optimizer's are stored.
        progress: stored with them.
    """
    arrays = {f"v{place:05d}": np.asarray(_value(variable)) for place, variable in enumerate(_variables(model))}
    path = folder / f"epoch_{progress.epoch:05d}.npz"
    arrays["progress"] = np.array(json.dumps(asdict(progress)))
    write_serialised(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    for old in sorted(folder.glob("epoch_*.npz"))[:-KEPT]:
        old.unlink()
    return path


def has_state(folder: Path) -> bool:
    """True where there is a state to go on with."""
    return any(folder.glob("epoch_*.npz"))


def load_progress(folder: Path) -> Progress:
    """Progress of the newest state of a run; a fresh Progress where no epoch was finished.

    Raises:
        UserError: the state is damaged.
    """
    states = sorted(folder.glob("epoch_*.npz"))
    return _read(states[-1])[0] if states else Progress()


def load_state(folder: Path, model: "keras.Model") -> Progress:
    """Put the newest state of a run back into a freshly built and compiled model.

    Returns:
        how far the training had come; a fresh Progress where no epoch was finished.

    Raises:
        UserError: the state belongs to another network or optimizer, is damaged, or holds numbers that are not finite.
    """
    states = sorted(folder.glob("epoch_*.npz"))
    if not states:
        return Progress()
    variables = _variables(model)
    progress, arrays = _read(states[-1])
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise UserError(
            f"{states[-1]}: expected a state of the network's {counted(len(variables), 'variable')}; "
            f"received one of {counted(len(arrays), 'array')}, or of other shapes"
        )
    if wrong := first_not_finite((variable.path, array) for variable, array in zip(variables, arrays, strict=True)):
        raise NotFinite(f"{states[-1]}: {wrong} is not finite (NaN or infinite); delete the file to go on from the one before")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
    return progress


def diverged_variable(model: "keras.Model") -> str | None:
    """Name of the first variable of a model or its optimizer that is not finite; None where all are."""
    return first_not_finite((variable.path, _value(variable)) for variable in _variables(model))


def _read(path: Path) -> tuple[Progress, list[np.ndarray]]:
    arrays = read_npz(path, "state of the training", ADVICE)
    try:
        values = parse_json(str(arrays.pop("progress", "")), finite=False)
    except ValueError as error:
        raise UserError(f"{path}: state of the training is damaged ({error}); {ADVICE}") from None
    names = [f"v{place:05d}" for place in range(len(arrays))]
    wanted: Mapping[str, Kind] = dict.fromkeys(names, CONTENT)
    ordered = checked(arrays, Fields(wanted), path, ADVICE)
    facts = checked(values, PROGRESS, f"{path}: progress", ADVICE)
    return Progress(**{name: facts[name] for name in PROGRESS.optional if name in facts}), [ordered[name] for name in names]


def _variables(model: "keras.Model") -> list[Any]:
    """All that changes while training; the optimizer's slots are made first, or there would be none to fill."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _value(variable: Any) -> Any:
    from keras import ops

    return ops.convert_to_numpy(variable)
