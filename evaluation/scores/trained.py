"""Patients who trained the runs that are scored on them: in manifests of scores, and in notes below tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from common.tables import counted
from evaluation.inference.provenance import TrainingCases, trained_patients


@dataclass(frozen=True)
class TrainedPatients:
    """Patients who trained the runs that are scored on them.

    Attributes:
        scored: number of patients who are scored.
        found: those of them who trained a run; None where that is not known.
        unknown: reasons why there may be more of them.
    """

    scored: int
    found: frozenset[str] | None = None
    unknown: tuple[str, ...] = ()

    @classmethod
    def read(cls, values: Mapping[str, Any], scored: int) -> Self:
        """From the entries of a manifest of scores that `trained_facts` makes; older manifests have none."""
        reasons, found = values.get("training_unknown"), values.get("trained_patients", [])
        return cls(scored, None if reasons is None and not found else frozenset(found), tuple(reasons or ()))

    @classmethod
    def merged(cls, sets: Sequence[Self]) -> Self:
        """Those of several sets of scores of equal patients, such as those of several seeds."""
        found = [each.found for each in sets if each.found is not None]
        unknown = tuple(dict.fromkeys(reason for each in sets for reason in each.unknown))
        return cls(sets[0].scored, frozenset().union(*found) if len(found) == len(sets) else None, unknown)

    def mark(self, patient: str) -> int | None:
        """1 for a patient who trained a run, else 0; None where that is not known."""
        if self.found is not None and patient in self.found:
            return 1
        return None if self.found is None or self.unknown else 0


def trained_facts(training: TrainingCases, patients: Mapping[str, str], unknown: Sequence[str] | None) -> dict[str, Any]:
    """Entries of a manifest of scores.

    Args:
        training: scored cases that trained the runs, as of `provenance.find_training_cases`.
        patients: case -> its patient, of the scored cases.
        unknown: reasons why further cases may have trained the runs; None where nothing is known.
    """
    return {
        "training": training,
        "training_unknown": None if unknown is None else list(unknown),
        "trained_patients": trained_patients(training, patients),
    }


def trained_notes(scores: Mapping[str, TrainedPatients]) -> list[str]:
    """Notes on how many patients of each set trained its runs: one line, and one for sets of which that is not known.

    Equal numbers of all sets are said once.
    """
    known = {name: (len(each.found), each.scored) for name, each in scores.items() if each.found is not None}
    doubtful = [name for name, each in scores.items() if each.found is None or each.unknown]
    notes = []
    if len(known) == len(scores) and len(set(known.values())) == 1:
        ((found, scored),) = set(known.values())
        notes.append(f"{found} of {counted(scored, 'patient')} trained the runs that are scored on them.")
    elif known:
        each = ", ".join(f"{name} {found} of {scored}" for name, (found, scored) in known.items())
        notes.append(f"Patients who trained the runs that are scored on them: {each}.")
    return notes + ([f"Not known whether patients trained the runs: {', '.join(doubtful)}."] if doubtful else [])
