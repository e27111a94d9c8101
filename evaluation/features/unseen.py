"""Folds in which no network saw the test patients of its features, and the training patients of a run, which prove it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.files import checksum
from common.tables import counted
from data_prep.leakage.same_scans import ScanIndex
from data_prep.records.folder import Records
from evaluation.features.cases import LabelledCase, LabelledCases
from training.patients import RunCase, index_scans, read_patients
from training.run import Run

SeenPatients = Literal["refuse", "warn"]
Division = Literal["folds", "held_out"]
DEFAULT_FOLDS = 5
LEAST_TRAINING = 2  # patients of each class that a fold trains on: the choice of C divides them once more


@dataclass(frozen=True)
class TrainingPatients:
    """Patients that trained a run, or one of the runs with whose weights it began.

    Attributes:
        run: the run.
        patients: sorted ids.
        scans: of the training cases.
        validation: sorted ids of the patients by which the run's own epoch was chosen.
        records: folders of the records, with their fold, by which this is known.
        began_with: runs or files whose weights were the first ones, in their order.
        unknown: reason why the list may be incomplete; empty where it is known to be complete.
    """

    run: Run
    patients: list[str]
    scans: ScanIndex[RunCase]
    validation: list[str]
    records: list[str]
    began_with: list[str]
    unknown: str

    def saw(self, case: LabelledCase) -> bool:
        """True for a case of a training patient, by the patient's id or by a copy of the scan."""
        return case.patient in self.patients or bool(self.scans.find(case.scan))

    def facts(self) -> dict[str, Any]:
        """Content for JSON."""
        return {
            "run": str(self.run.path.resolve()),
            "weights": checksum(self.run.weights),
            "records": self.records,
            "began_with": self.began_with,
            "trained_by": self.patients,
            "epoch_chosen_by": self.validation,
            "unknown": self.unknown or None,
        }


@dataclass(frozen=True)
class Fold:
    """Fold of the classifier: the features of all its patients are of one run.

    Attributes:
        run: place of the run among the runs.
        train, test: sorted patients.
        seen: test patients that trained the run; empty unless they are allowed.
    """

    run: int
    train: list[str]
    test: list[str]
    seen: list[str]


def training_patients(run: Run) -> TrainingPatients:
    """Patients that trained a run, or one of the runs with whose weights it began."""
    known = read_patients(run)
    patients = {case.patient for case in known.training}
    validation = sorted({case.patient for case in known.validation} - patients)
    places = dict.fromkeys((case.records, case.fold) for case in known.training)
    records = [path if fold is None else f"{path}, fold {fold}" for path, fold in places]
    scans = index_scans(known.training)
    return TrainingPatients(run, sorted(patients), scans, validation, records, list(known.began_with), known.unknown)


def make_folds(
    labelled: LabelledCases,
    trainings: Sequence[TrainingPatients],
    count: int | None,
    seed: int,
    seen_patients: SeenPatients,
    records: Records | None = None,
) -> list[Fold]:
    """Divide patients into folds, each with a run that none of its test patients trained.

    With several runs each is a fold. A patient is tested by a run that it did not train; of several, by that whose validation
    patient it is, else by that with the fewest patients of its class. With one run the folds are those of the records, if it
    was not trained on these, else patients are dealt out by class.

    Args:
        labelled: cases of the patients.
        trainings: of the runs.
        count: of folds with one run; None: those of the records, else 5.
        seed: of the dealing.
        seen_patients: whether patients that trained every run are refused.
        records: of the cases.

    Raises:
        UserError: a patient that trained every run, a run whose training patients are not known, or too few patients.
    """
    if count is not None and len(trainings) > 1:
        raise UserError(f"--folds: {len(trainings)} runs are given, and each is a fold; leave --folds out")
    _refuse_unknown(trainings, seen_patients)
    seen = {name: [False] * len(trainings) for name in sorted(labelled.patients)}
    for case in labelled.cases:
        seen[case.patient] = [old or each.saw(case) for old, each in zip(seen[case.patient], trainings, strict=True)]
    _refuse_seen(seen, trainings, seen_patients)
    runs, homes = _places(trainings, count, records)
    _check_counts(labelled, len(runs), len(trainings) > 1)
    allowed = {}
    for name, by_run in seen.items():
        unseen = [place for place, run in enumerate(runs) if not by_run[run]] or list(range(len(runs)))
        allowed[name] = [place for place in unseen if name in homes[place]] or unseen
    tested = deal(labelled.patients, allowed, seed)
    found = []
    for place, run in enumerate(runs):
        test = [name for name in seen if tested[name] == place]
        train = [name for name in seen if tested[name] != place]
        found.append(Fold(run, train, test, [name for name in test if seen[name][run]]))
    folds = [fold for fold in found if fold.test]
    _check_folds(folds, labelled)
    return folds


def held_out_fold(
    labelled: LabelledCases, training: TrainingPatients, records: Records, seen_patients: SeenPatients
) -> list[Fold]:
    """The division of records as the only fold: their test patients are tested, all others train the classifier.

    The network may have seen the classifier's training patients, but none of its test patients.

    Args:
        labelled: cases of the patients.
        training: of the run.
        records: of the cases.
        seen_patients: whether test patients that trained the run are refused.

    Raises:
        UserError: as of `make_folds`, or no test patient has a class.
    """
    _refuse_unknown([training], seen_patients)
    held_out = {records.cases[case].patient for case in records.subset("test")}
    test = sorted(name for name in labelled.patients if name in held_out)
    train = sorted(name for name in labelled.patients if name not in held_out)
    if not test:
        raise UserError(f"{records.path}: expected test patients with a value of {labelled.attribute}; received none")
    cases = [case for case in labelled.cases if case.patient in held_out]
    seen = sorted({case.patient for case in cases if training.saw(case)})
    _refuse_seen({name: [name in seen] for name in test}, [training], seen_patients)
    fold = Fold(0, train, test, seen)
    _refuse_few(fold, 0, labelled)
    return [fold]


def deal(targets: Mapping[str, int], allowed: Mapping[str, Sequence[int]], seed: int) -> dict[str, int]:
    """Deal patients out to folds, stratified by class: patient -> its fold.

    Args:
        targets: patient -> class index.
        allowed: patient -> folds that it may be in. Those with one alone come first; then each patient, in random order class
            by class, goes to the fold with the fewest patients of its class, of equal ones to that with the fewest in all.
        seed: of the order.
    """
    names = sorted(targets)
    order = dict(zip(names, np.random.default_rng(seed).permutation(len(names)).tolist(), strict=True))
    dealt: dict[str, int] = {}
    for name in sorted(names, key=lambda name: (len(allowed[name]) > 1, targets[name], order[name])):
        together = [fold for other, fold in dealt.items() if targets[other] == targets[name]]
        everything = list(dealt.values())
        dealt[name] = min(allowed[name], key=lambda fold: (together.count(fold), everything.count(fold), fold))
    return dealt


def _refuse_unknown(trainings: Sequence[TrainingPatients], rule: SeenPatients) -> None:
    """Refuse runs whose training patients are not known.

    Raises:
        UserError: names the first run, and what is missing.
    """
    unknown = next((each for each in trainings if each.unknown), None)
    if unknown is not None and rule == "refuse":
        raise UserError(
            f"{unknown.unknown}, so it is not known which patients trained {unknown.run.path}; put it back, or take features "
            "that may have seen test patients by --seen_patients warn"
        )


def _refuse_seen(seen: Mapping[str, list[bool]], trainings: Sequence[TrainingPatients], rule: SeenPatients) -> None:
    """Refuse patients that trained every run.

    Raises:
        UserError: names the first patient, the run, and what to do.
    """
    known = [name for name, by_run in seen.items() if all(by_run)]
    if not known or rule == "warn":
        return
    where = str(trainings[0].run.path) if len(trainings) == 1 else f"all of {counted(len(trainings), 'run')}"
    more = f" (and {len(known) - 1} more)" if len(known) > 1 else ""
    raise UserError(
        f"--runs: patient {known[0]}{more} trained {where}, so the features know this patient; train a run without each "
        "patient by glioskull cross_validate and give its folder, leave the patients out by --cases, or take them by "
        "--seen_patients warn"
    )


def _places(
    trainings: Sequence[TrainingPatients], count: int | None, records: Records | None
) -> tuple[list[int], list[set[str]]]:
    """Run of each fold, and the patients that belong to it."""
    if len(trainings) > 1:
        return list(range(len(trainings))), [set(each.validation) for each in trainings]
    if count is None and records is not None and records.folds and not trainings[0].run.trained_on(records):
        homes = [{records.cases[case].patient for case in fold["validation"]} for fold in records.folds]
        return [0] * len(homes), homes
    return [0] * (count or DEFAULT_FOLDS), [set() for _ in range(count or DEFAULT_FOLDS)]


def _check_counts(labelled: LabelledCases, folds: int, of_runs: bool) -> None:
    """Refuse a class with fewer patients than folds.

    Raises:
        UserError: says how many are needed.
    """
    name, number = min(labelled.counts().items(), key=lambda item: item[1])
    if number < folds:
        most = "cross-validate with fewer folds" if of_runs else f"choose at most {number} by --folds"
        hint = most if number >= LEAST_TRAINING else "add patients"
        raise UserError(
            f"{labelled.attribute} {name}: expected at least {folds} patients, one for each fold; received {number}; {hint}"
        )


def _check_folds(folds: Sequence[Fold], labelled: LabelledCases) -> None:
    """Refuse folds that train on too few patients of a class to choose C.

    Raises:
        UserError: says how many are needed.
    """
    if len(folds) < 2:
        raise UserError("--runs: expected two folds at least; received one, because all patients trained the other runs")
    for number, fold in enumerate(folds):
        _refuse_few(fold, number, labelled)


def _refuse_few(fold: Fold, number: int, labelled: LabelledCases) -> None:
    """Refuse a fold that trains on too few patients of a class to choose C.

    Raises:
        UserError: says how many are needed.
    """
    for index, name in enumerate(labelled.classes):
        found = sum(labelled.patients[patient] == index for patient in fold.train)
        if found < LEAST_TRAINING:
            raise UserError(
                f"{labelled.attribute} {name}: expected at least {LEAST_TRAINING} patients to train on in each fold; "
                f"received {found} in fold {number}; add patients or folds"
            )
