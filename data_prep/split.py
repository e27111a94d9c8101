"""Patient-wise split into training, validation and test sets, and into folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import UserError, expect_number
from common.files import read_yaml
from common.tables import counted
from data_prep.scans.case import CaseFiles

SUBSETS = ("train", "validation", "test")
EMPTY: tuple[object, ...] = ("", "null", "~", [])  # an empty list in YAML
Split = dict[str, list[str]]


@dataclass
class SplitConfig:
    """Split of the patients into training, validation and test sets."""

    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Shares of the patients for training, validation and test; [1, 0, 0] trains on all."""
    file: Path | None = None
    """YAML or JSON file with lists `train`, `validation`, `test` of patients or cases, instead of fractions; cases in
    no list are left out."""
    folds: int = 0
    """Number of cross-validation folds of the patients that are not for test; 0: none."""
    stratify: str | None = None
    """Attribute, such as grade, by which the split is stratified; patients without it form a group."""
    group: str | None = None
    """Attribute, such as institution, whose values make the folds in place of `folds`: each fold validates on the patients of
    one value and trains on the others (leave one group out)."""
    seed: int = 0
    """Seed of the split."""


def make_split(cases: Sequence[CaseFiles], config: SplitConfig) -> Split:
    """Split cases by patient: `train`, `validation` and `test` -> case ids, sorted.

    Raises:
        UserError: bad fractions or seed, unknown names or names in two lists, an attribute that no patient has.
    """
    if config.file is not None:
        return _from_file(cases, config.file)
    shares = np.asarray(config.fractions, float)
    if not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6 or shares[0] == 0:
        wanted = "three shares that sum to 1, training above 0"
        raise UserError(f"--split.fractions: expected {wanted}; received {config.fractions}")
    patients = _shuffled(cases, config)
    counts = _counts(len(patients), shares)
    # Taken with even steps through patients in order of the attribute, every subset gets its share of each value.
    places = _spread(counts)
    chosen = {name: {patients[i] for i in np.flatnonzero(places == k)} for k, name in enumerate(SUBSETS)}
    return {name: sorted(case.id for case in cases if case.patient in chosen[name]) for name in SUBSETS}


def make_folds(cases: Sequence[CaseFiles], config: SplitConfig) -> list[Split]:
    """Cross-validation folds by patient: each is {`train`: ids, `validation`: ids}.

    Raises:
        UserError: fewer patients than folds; a group's attribute that a patient lacks, or that all share.
    """
    if config.group is not None:
        return _group_folds(cases, config, config.group)
    if config.folds == 0:
        return []
    patients = _shuffled(cases, config)
    if not 2 <= config.folds <= len(patients):
        most = "" if len(patients) < 2 else " or 2" if len(patients) == 2 else f", or 2 to {len(patients)}"
        wanted = f"0{most} ({counted(len(patients), 'patient')} that are not for test)"
        raise UserError(f"--split.folds: expected {wanted}; received {config.folds}")
    return _folds(cases, {patient: place % config.folds for place, patient in enumerate(patients)}, config.folds)


def _group_folds(cases: Sequence[CaseFiles], config: SplitConfig, attribute: str) -> list[Split]:
    """A fold for each value of an attribute, in their order as text."""
    if config.folds:
        raise UserError(f"--split.group makes the folds; expected no --split.folds beside it; received {config.folds}")
    values = _values(cases, attribute)
    groups = sorted(set(values.values()))
    lacking = [patient for patient, value in values.items() if not value]
    if lacking or len(groups) < 2:
        known = ", ".join(sorted({name for case in cases for name in case.attributes})) or "none at all"
        found = f"{len(lacking)} of {len(values)} patients without it" if lacking else f"{groups[0]} for all"
        raise UserError(f"--split.group: expected {attribute!r} of at least two values; received {found}; attributes: {known}")
    return _folds(cases, {patient: groups.index(value) for patient, value in values.items()}, len(groups))


def _folds(cases: Sequence[CaseFiles], fold_of: dict[str, int], count: int) -> list[Split]:
    return [
        {
            "train": sorted(case.id for case in cases if fold_of[case.patient] != fold),
            "validation": sorted(case.id for case in cases if fold_of[case.patient] == fold),
        }
        for fold in range(count)
    ]


def fold_names(folds: Sequence[Sequence[str]], attributes: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Names of folds, for figures: `fold 0`, or with the group that it leaves out, `fold 0: CS`.

    Args:
        folds: validation patients of each.
        attributes: of patients; folds are by groups where one attribute has a value of its own in each of them.
    """
    known = sorted({name for values in attributes.values() for name in values})
    for name in known:
        groups = [{attributes.get(patient, {}).get(name, "") for patient in fold} for fold in folds]
        values = [value for group in groups for value in group]
        if all(values) and len(values) == len(set(values)) == len(folds) > 1:
            return [f"fold {number}: {value}" for number, value in enumerate(values)]
    return [f"fold {number}" for number in range(len(folds))]


def stratify_warning(cases: Sequence[CaseFiles], config: SplitConfig) -> str | None:
    """Warning about patients without the attribute of stratification; None where all have it."""
    if config.stratify is None:
        return None
    values = _values(cases, config.stratify)
    lacking = sorted(patient for patient, value in values.items() if not value)
    if not lacking:
        return None
    return (
        f"split.stratify: {len(lacking)} of {len(values)} patients have no {config.stratify!r}, first {lacking[0]}; "
        "they are spread evenly as a group of their own"
    )


def _shuffled(cases: Sequence[CaseFiles], config: SplitConfig) -> list[str]:
    """Patients in random order, grouped by value of the attribute; those without it come first."""
    expect_number("split.seed", config.seed, 0)
    values = _values(cases, config.stratify)
    if config.stratify and values and not any(values.values()):
        known = ", ".join(sorted({name for case in cases for name in case.attributes})) or "none at all"
        raise UserError(f"--split.stratify: none of {len(values)} patients has {config.stratify!r}; their attributes: {known}")
    patients = sorted(values)
    np.random.default_rng(config.seed).shuffle(patients)
    return sorted(patients, key=values.__getitem__)


def _values(cases: Sequence[CaseFiles], attribute: str | None) -> dict[str, str]:
    """Value of an attribute by patient; empty where none of the patient's cases has it."""
    values = {case.patient: "" for case in cases}
    for case in cases:
        values[case.patient] = case.attributes.get(attribute or "", "") or values[case.patient]
    return values


def _counts(patients: int, shares: np.ndarray) -> list[int]:
    """Number of patients per subset: rounded, at least one where the share is not zero; training gets the rest."""
    wanted = [max(1, round(float(share) * patients)) if share > 0 else 0 for share in shares[1:]]
    if patients - sum(wanted) < 1:
        raise UserError(
            f"--split.fractions: {counted(patients, 'patient')}: too few for training, validation and test; "
            "give [1, 0, 0] to train on all, or lists in split.file"
        )
    return [patients - sum(wanted), *wanted]


def _spread(counts: list[int]) -> np.ndarray:
    """Subset of each of sum(counts) patients, spread as evenly as the counts allow."""
    positions = [(place + 0.5) / count for count in counts for place in range(count)]
    subsets = np.repeat(np.arange(len(counts)), counts)
    return subsets[np.argsort(positions, kind="stable")]


def _from_file(cases: Sequence[CaseFiles], path: Path) -> Split:
    """Split that a file lists."""
    lists = read_yaml(path, "split file", as_text=True)
    known = isinstance(lists, dict) and not set(lists) - set(SUBSETS)
    lists = {name: [] if names in EMPTY else names for name, names in lists.items()} if known else {}
    if not lists.get("train") or not all(isinstance(names, list) for names in lists.values()):
        raise UserError(f"{path}: expected lists `train` (not empty), `validation`, `test` of patients or cases")
    split = {name: _named(cases, [str(entry) for entry in lists.get(name, [])], path) for name in SUBSETS}
    patients: dict[str, str] = {}
    for name in SUBSETS:
        for case in (case for case in cases if case.id in set(split[name])):
            if patients.setdefault(case.patient, name) != name:
                raise UserError(f"{path}: patient {case.patient} stands in {patients[case.patient]} and in {name}")
    return split


def _named(cases: Sequence[CaseFiles], names: list[str], path: Path) -> list[str]:
    """Ids of the cases that are listed by case or patient, sorted."""
    known = {name for case in cases for name in (case.id, case.patient)}
    unknown = [name for name in names if name not in known]
    if unknown:
        same = sorted(name for name in known if name.lstrip("0") == unknown[0].lstrip("0"))
        hint = f"; did you mean {same[0]!r}? Ids are text, and keep their zeros: quote them" if same else ""
        raise UserError(f"{path}: {unknown[0]!r} is no patient or case of the source ({len(unknown)} such names){hint}")
    return sorted(case.id for case in cases if case.id in names or case.patient in names)
