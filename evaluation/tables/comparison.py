"""Comparison of scores: means per column, differences of the same patients, and the gap between two ways of splitting.

A column is one set of scores: of segmentations, per patient, or of classifiers, by their means and intervals. Only scores of
one rule are compared, and no column is called the best of others that were split in another way.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np

from common.errors import UserError
from common.metrics.catalogue import METRICS, rule_notes
from common.metrics.metric import Scale
from common.metrics.statistics import (
    FEWEST_PAIRS,
    INTERVAL,
    INTERVAL_NOTE,
    STUDENT,
    PairedDifference,
    holm,
    paired_columns,
    student_note,
    summarise_columns,
)
from common.tables import counted
from data_prep.structures import Structure
from evaluation.scores.folder import AVERAGING

RowKey = tuple[str, str, str]  # kind, structure, metric; for classifiers "level", "patient" or "slice", metric
MOST_LISTED = 20  # patients in a line
CLASSIFICATION_SCALES = {
    scale.name: scale
    for scale in (
        Scale(name="accuracy", heading="accuracy"),
        Scale(name="f1", heading="F1"),
        Scale(name="auc", heading="AUC"),
    )
}
SPLIT_RULE = (
    "slice split: slices of one patient are in training and in test, so its figures do not hold for new patients. The best "
    "is marked among columns of one split alone, and columns of two splits are not tested against each other (other split)."
)
UNTESTED = "not tested"
TEST_RULE = (
    "p: two-sided Wilcoxon signed-rank test over patients, those without a difference left out (zero method `wilcox`); "
    f"{UNTESTED}: fewer than {FEWEST_PAIRS} patients."
)
ONE_SIDED = (
    "Patients with a value in one set alone are in one of both means and not in the difference, so it is called neither better "
    "nor worse, and is not tested"
)
WITHOUT_VALUE = "Patients without a value under a metric's rule (nothing to find), left out of its mean"
CHANGE_RULE = "better, worse: direction of the mean difference by the arrow of the metric (↑ larger, ↓ smaller is better)."


@dataclass(frozen=True)
class Cell:
    """Mean, its interval, and number of patients or slices; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class ColumnHead:
    """Head of a column.

    Attributes:
        name: unique among the columns.
        split: "patient" or "slice", the units that were divided into training and test.
        head: further lines, such as how many patients there are.
    """

    name: str
    split: str
    head: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoredSegmentation:
    """Scores of segmentations, per patient.

    Attributes:
        name, split: as in `ColumnHead`.
        values: key -> patient -> score; every key has the same patients.
        members: (kind, structure) -> sorted names of the classes that it is made of.
        missing: case -> reason why it counts the worst values.
        left_out: key -> values of single seeds that a mean over seeds leaves out, because a rule gives none.
    """

    name: str
    split: str
    values: dict[RowKey, dict[str, float]]
    members: dict[tuple[str, str], tuple[str, ...]]
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[RowKey, int] = field(default_factory=dict)

    @property
    def patients(self) -> list[str]:
        """Sorted ids."""
        return sorted(next(iter(self.values.values()), {}))


@dataclass(frozen=True)
class ScoredClassifier:
    """Scores of a classifier, as means with intervals.

    Attributes:
        column: its head.
        task: name of the head and its classes, which all columns share.
        cells: key -> mean and interval.
    """

    column: ColumnHead
    task: str
    cells: dict[RowKey, Cell]


@dataclass(frozen=True)
class Difference:
    """A column minus the reference in one row.

    Attributes:
        paired: over the common patients; None where there is none.
        p: corrected by Holm's rule over the columns of the row; None where there is no test.
        note: reason for no test; empty where there is one.
        one_sided: patients with a value in one set alone.
    """

    paired: PairedDifference | None
    p: float | None
    note: str = ""
    one_sided: int = 0


@dataclass(frozen=True)
class Comparison:
    """A finished comparison, ready to be written as text, Markdown or CSV.

    Attributes:
        opening: the line above the table.
        columns: the sets of scores; the first is the reference.
        rows: key -> a cell per column.
        differences: key -> a difference per column but the first; empty for classifiers.
        gaps: optimism gaps of slice splits, a line per metric and pair of columns.
        notes: lines below the tables.
        hidden: (kind, structure) of the rows that repeat another one; they are in CSV alone.
    """

    opening: str
    columns: list[ColumnHead]
    rows: dict[RowKey, list[Cell]]
    differences: dict[RowKey, list[Difference]]
    gaps: list[str]
    notes: list[str]
    hidden: frozenset[tuple[str, str]] = frozenset()

    @property
    def shown(self) -> list[RowKey]:
        """Keys of the rows that are printed."""
        return [key for key in self.rows if key[:2] not in self.hidden]


def scale_of(key: RowKey) -> Scale:
    """Scale of a row: of the metric catalogue, or of a classifier's score."""
    known: Mapping[str, Scale] = CLASSIFICATION_SCALES if key[0] == "level" else METRICS
    return known.get(key[2], Scale(name=key[2], heading=key[2]))


def compare_scores(
    entries: Sequence[ScoredSegmentation], keys: Sequence[RowKey], hidden: Collection[tuple[str, str]] = ()
) -> Comparison:
    """Compare scores of segmentations; every entry against the first on the patients that both have.

    Args:
        entries: at least two, with different names.
        keys: the rows; every entry has all of them.
        hidden: (kind, structure) of rows that are not printed.

    Raises:
        UserError: an entry of the reference's split has no patient in common with it.
    """
    columns = [ColumnHead(entry.name, entry.split, (counted(len(entry.patients), "patient"),)) for entry in entries]
    means, student, without = [], [], []
    for entry in entries:
        table = _table(entry, keys, entry.patients)
        summaries = summarise_columns(table, _ranges(keys, table), _may_lack_value(keys))
        means.append([Cell(each.mean if each.patients else None, each.low, each.high, each.patients) for each in summaries])
        without += [
            f"{scale_of(key).heading} of {title(key)} ({entry.name}): {len(entry.patients) - each.patients}"
            for key, each in zip(keys, summaries, strict=True)
            if each.patients < len(entry.patients) and key[:2] not in hidden
        ]
        student += [
            f"{scale_of(key).heading} of {title(key)} ({entry.name})"
            for key, each in zip(keys, summaries, strict=True)
            if each.interval_method == STUDENT and METRICS[key[2]].worst is not None and key[:2] not in hidden
        ]
    rows = {key: [cells[k] for cells in means] for k, key in enumerate(keys)}
    others = [_differences(entry, entries[0], keys) for entry in entries[1:]]
    differences = {}
    for k, key in enumerate(keys):
        row = [found[k] for found in others]
        corrected = holm([each.p for each in row])
        differences[key] = [replace(each, p=p) for each, p in zip(row, corrected, strict=True)]
    several = sum(entry.split == entries[0].split for entry in entries[1:]) > 1
    return Comparison(
        opening=f"Mean over patients [{INTERVAL}]",
        columns=columns,
        rows=rows,
        differences=differences,
        gaps=optimism_gaps(columns, {key: cells for key, cells in rows.items() if key[:2] not in hidden}),
        notes=[
            *_left_out(entries),
            *_missing_notes(entries),
            *([f"{WITHOUT_VALUE}: {'; '.join(without)}."] if without else []),
            *_one_sided_notes(columns, differences, hidden),
            *_split_notes(columns),
            AVERAGING,
            *rule_notes([METRICS[name] for name in dict.fromkeys(key[2] for key in keys) if name in METRICS]),
            f"{INTERVAL_NOTE}.",
            *student_note(student),
            CHANGE_RULE,
            TEST_RULE,
            *(["p is corrected by Holm's rule over the columns of a row, not over rows."] if several else []),
        ],
        hidden=frozenset(hidden),
    )


def compare_classifiers(entries: Sequence[ScoredClassifier], keys: Sequence[RowKey]) -> Comparison:
    """Compare scores of classifiers by their means and intervals.

    Args:
        entries: at least two, with different names.
        keys: the rows; every entry has all of them.

    Raises:
        UserError: the entries are of different heads or classes.
    """
    for entry in entries[1:]:
        if entry.task != entries[0].task:
            names = f"{entries[0].column.name} ({entries[0].task}) and {entry.column.name} ({entry.task})"
            raise UserError(f"expected scores of one head and its classes; received {names}")
    columns = [entry.column for entry in entries]
    rows = {key: [entry.cells[key] for entry in entries] for key in keys}
    return Comparison(
        opening=f"{entries[0].task}: score [interval], both as each folder's classification_scores.json has them",
        columns=columns,
        rows=rows,
        differences={},
        gaps=optimism_gaps(columns, rows),
        notes=[*_split_notes(columns), "Patients' own scores are not in classification scores, so there is no paired test."],
    )


def common_keys(entries: Sequence[ScoredSegmentation]) -> tuple[list[RowKey], list[str]]:
    """The rows that all entries have, in the order of the first.

    Returns:
        The keys, and a note for what is left out because an entry lacks it or makes it of other classes.

    Raises:
        UserError: nothing is left.
    """
    structures = list(dict.fromkeys(key[:2] for entry in entries for key in entry.values))
    kept = [each for each in structures if len({entry.members.get(each) for entry in entries}) == 1]
    gone = [title(each) for each in structures if each not in kept]
    keys = [key for key in entries[0].values if key[:2] in kept and all(key in entry.values for entry in entries)]
    if not keys:
        named = "; ".join(f"{entry.name}: {', '.join(title(each) for each in entry.members)}" for entry in entries)
        raise UserError(f"expected a structure that all have, made of the same classes; received none ({named})")
    notes = [f"Left out, for not all columns have them, made of the same classes: {', '.join(gone)}."] if gone else []
    known = dict.fromkeys(key[2] for entry in entries for key in entry.values)
    missing = [scale_of(("", "", name)).heading for name in known if name not in {key[2] for key in keys}]
    missing += [
        f"{scale_of(key).heading} of {title(key)}"
        for key in dict.fromkeys(key for entry in entries for key in entry.values)
        if key[:2] in kept and key not in keys and key[2] in {each[2] for each in keys}
    ]
    return keys, notes + ([f"Left out, for not all columns have them: {', '.join(missing)}."] if missing else [])


def optimism_gaps(columns: Sequence[ColumnHead], rows: Mapping[RowKey, Sequence[Cell]]) -> list[str]:
    """Score of each slice split minus that of each patient split, a line per metric; nothing where all are split alike."""
    sliced = [c for c, column in enumerate(columns) if column.split == "slice"]
    by_patient = [c for c, column in enumerate(columns) if column.split == "patient"]
    lines = []
    for s, p in [(s, p) for s in sliced for p in by_patient]:
        for score in dict.fromkeys(key[2] for key in rows):
            mine = {key: cells for key, cells in rows.items() if key[2] == score}
            texts = []
            for key, cells in mine.items():
                one, other = cells[s].value, cells[p].value
                gap = "n/a" if one is None or other is None else scale_of(key).text(one - other, signed=True)
                texts.append(f"{title(key)} {gap}")
            lines.append(
                f"optimism gap (slice split minus patient split), {scale_of(next(iter(mine))).label}, {columns[s].name} minus "
                f"{columns[p].name}: {', '.join(texts)}"
            )
    return lines


def title(structure: Sequence[str]) -> str:
    """Display name of (kind, structure): `WT (region)`, `class mean`, `per patient`."""
    kind, name = structure[:2]
    if kind == "level":
        return f"per {name}"
    return Structure(cast(Literal["region", "class", "mean"], kind), name).title


def _table(entry: ScoredSegmentation, keys: Sequence[RowKey], patients: Sequence[str]) -> np.ndarray:
    """(patients, keys) float64."""
    return np.array([[entry.values[key][patient] for key in keys] for patient in patients], np.float64).reshape(
        len(patients), len(keys)
    )


def _ranges(keys: Sequence[RowKey], table: np.ndarray) -> list[tuple[float, float] | None]:
    """Range of the interval of each column of a table (patients, keys)."""
    return [METRICS[key[2]].interval_range(column) for key, column in zip(keys, table.T, strict=True)]


def _may_lack_value(keys: Sequence[RowKey]) -> list[bool]:
    """True for each key of a metric that may have no value for a patient."""
    return [METRICS[key[2]].may_lack_value for key in keys]


def _differences(entry: ScoredSegmentation, reference: ScoredSegmentation, keys: Sequence[RowKey]) -> list[Difference]:
    """A difference per key; no test between two splits, whose networks were trained on different kinds of data."""
    both = sorted(set(entry.patients) & set(reference.patients))
    other_split = entry.split != reference.split
    if not both and not other_split:
        raise UserError(f"{entry.name} and {reference.name}: expected patients that both have; received none in common")
    if not both:
        return [Difference(None, None, "no patient in common")] * len(keys)
    one, other = _table(entry, keys, both), _table(reference, keys, both)
    found = paired_columns(one, other, _ranges(keys, np.concatenate([one, other])), _may_lack_value(keys))
    differences = []
    for pair in found:
        note = "other split" if other_split else UNTESTED if pair.p is None and not pair.one_sided else ""
        known = Difference(pair, None if other_split else pair.p, note, pair.one_sided)
        differences.append(known if pair.n else Difference(None, None, "no value in common", pair.one_sided))
    return differences


def _missing_notes(entries: Sequence[ScoredSegmentation]) -> list[str]:
    """Cases without a usable prediction, and values of seeds that a mean leaves out, a note each; empty without any."""
    notes = []
    if any(entry.missing for entry in entries):
        counts = "; ".join(
            f"{entry.name}: {counted(len(entry.missing), 'case')} ({', '.join(list(entry.missing)[:MOST_LISTED])})"
            for entry in entries
            if entry.missing
        )
        notes.append(f"Without usable prediction, counted with the worst value of every metric that has one: {counts}.")
    listed = [
        f"{scale_of(key).heading} of {title(key)} ({entry.name}): {count}"
        for entry in entries
        for key, count in entry.left_out.items()
        if count
    ]
    return notes + ([f"Values of single seeds that a patient's mean leaves out: {'; '.join(listed)}."] if listed else [])


def _one_sided_notes(
    columns: Sequence[ColumnHead], differences: Mapping[RowKey, Sequence[Difference]], hidden: Collection[tuple[str, str]]
) -> list[str]:
    """Note on the rows where patients have a value in one set alone; empty without any."""
    listed = [
        f"{scale_of(key).heading} of {title(key)} ({column.name}): {found.one_sided}"
        for key, row in differences.items()
        for column, found in zip(columns[1:], row, strict=True)
        if found.one_sided and key[:2] not in hidden
    ]
    return [f"{ONE_SIDED}: {'; '.join(listed)}."] if listed else []


def _split_notes(columns: Sequence[ColumnHead]) -> list[str]:
    return [SPLIT_RULE] if any(column.split == "slice" for column in columns) else []


def _left_out(entries: Sequence[ScoredSegmentation]) -> list[str]:
    """Patients that the differences leave out, a line per pair and side."""
    reference, lines = entries[0], []
    for entry in entries[1:]:
        for one, other in ((reference, entry), (entry, reference)):
            alone = sorted(set(one.patients) - set(other.patients))
            if alone:
                more = ", ..." if len(alone) > MOST_LISTED else ""
                listed = ", ".join(alone[:MOST_LISTED]) + more
                lines.append(
                    f"Only {one.name} has, not {other.name}, so left out of their differences: {listed} ({len(alone)})."
                )
    note = "The means are over each column's own patients, who are not the same; the differences are over those of both."
    return [*lines, note] if lines else []
