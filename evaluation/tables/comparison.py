"""Scores side by side: means per column, differences of the same patients, and the gap between two ways of splitting.

A column is one set of scores: of segmentations, known patient by patient, or of categories, known by their means and intervals.
Only what was scored by one rule is compared, and no column is called the best of others that were split in another way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.metrics.overlap import ABSENT_RULE
from common.metrics.statistics import FEWEST_PAIRS, RESAMPLES, PairedDifference, holm, paired_columns, summarise_columns
from evaluation.tables.patients import AVERAGING, HEADINGS, PERCENT

Key = tuple[str, str, str]  # kind, structure, score; for categories "level", "patient" or "slice", score
SPLITS = ("patient", "slice")
MOST_LISTED = 20  # patients in a line
TITLES = HEADINGS | {"accuracy": "accuracy", "f1": "F1", "auc": "AUC"}
SPLIT_RULE = (
    "slice split: slices of one patient stand in training and in test, so its figures do not hold for new patients. The best "
    "is marked among columns of one split alone, and columns of two splits are not tested against each other (other split)."
)
TEST_RULE = (
    "p: two-sided Wilcoxon signed-rank test over patients, those without a difference left out (zero method `wilcox`); "
    f"too few: fewer than {FEWEST_PAIRS} patients."
)


@dataclass(frozen=True)
class Cell:
    """A mean, its interval, and of how many patients or slices; None where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class Column:
    """What stands in a column's head.

    Attributes:
        name: unique among the columns.
        split: "patient" or "slice": what was divided into training and test.
        head: further lines, such as how many patients there are.
    """

    name: str
    split: str
    head: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """Scores of segmentations, per patient.

    Attributes:
        name, split: as in `Column`.
        values: key -> patient -> score; every key has the same patients.
        members: (kind, structure) -> the classes that it is made of.
    """

    name: str
    split: str
    values: dict[Key, dict[str, float]]
    members: dict[tuple[str, str], tuple[str, ...]]

    @property
    def patients(self) -> list[str]:
        """Sorted ids."""
        return sorted(next(iter(self.values.values()), {}))


@dataclass(frozen=True)
class ScoredCategories:
    """Scores of predicted categories, as means with intervals.

    Attributes:
        column: its head.
        task: the head that was scored and its classes, which all columns share.
        cells: key -> mean and interval.
    """

    column: Column
    task: str
    cells: dict[Key, Cell]


@dataclass(frozen=True)
class Difference:
    """A column minus the reference in one row.

    Attributes:
        paired: over the common patients; None where there is none.
        p: corrected by Holm's rule over the columns of the row; None where there is no test.
        note: why there is none; empty where there is one.
    """

    paired: PairedDifference | None
    p: float | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """A finished comparison, ready to be written as text, Markdown or CSV.

    Attributes:
        opening: the line above the table: what the figures are.
        columns: the sets of scores; the first is the reference.
        rows: key -> a cell per column.
        differences: key -> a difference per column but the first; empty for categories.
        gaps: what the slice splits promise too much, a line per score and pair of columns.
        notes: what is below.
    """

    opening: str
    columns: list[Column]
    rows: dict[Key, list[Cell]]
    differences: dict[Key, list[Difference]]
    gaps: list[str]
    notes: list[str]


def paired(one: Mapping[str, float], other: Mapping[str, float], resamples: int = RESAMPLES, seed: int = 0) -> PairedDifference:
    """Compare two sets of scores, `one` minus `other`, on the patients of both.

    Args:
        one, other: patient -> score; patients that only one has are left out.
        resamples, seed: of the bootstrap.

    Raises:
        ValueError: no patient in common, or a score that is not finite.
    """
    both = _common(one, other)
    return paired_columns(_table([one], both), _table([other], both), seed, resamples)[0]


def compare_scores(entries: Sequence[Scored], keys: Sequence[Key], seed: int = 0, resamples: int = RESAMPLES) -> Comparison:
    """Compare scores of segmentations; every entry against the first on the patients that both have.

    Args:
        entries: at least two, with different names.
        keys: the rows; every entry has all of them.
        seed, resamples: of the bootstrap.

    Raises:
        UserError: an entry of the reference's split has no patient in common with it.
    """
    columns = [Column(entry.name, entry.split, (counted(len(entry.patients), "patient"),)) for entry in entries]
    means = [_means(entry, keys, seed, resamples) for entry in entries]
    rows = {key: [cells[k] for cells in means] for k, key in enumerate(keys)}
    others = [_differences(entry, entries[0], keys, seed, resamples) for entry in entries[1:]]
    return Comparison(
        opening=f"Mean over patients [{PERCENT} bootstrap interval over patients, {resamples} resamples, seed {seed}]",
        columns=columns,
        rows=rows,
        differences={key: _corrected([found[k] for found in others]) for k, key in enumerate(keys)},
        gaps=optimism_gaps(columns, rows),
        notes=[*_left_out(entries), *_split_notes(columns), AVERAGING, ABSENT_RULE, TEST_RULE, *_holm_note(entries)],
    )


def compare_categories(entries: Sequence[ScoredCategories], keys: Sequence[Key]) -> Comparison:
    """Compare scores of categories by their means and intervals.

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
    paired_note = "Patients' own scores are not in category scores, so there is no paired test."
    return Comparison(
        opening=f"{entries[0].task}: score [interval], both as each folder's category_scores.json has them",
        columns=columns,
        rows=rows,
        differences={},
        gaps=optimism_gaps(columns, rows),
        notes=[*_split_notes(columns), paired_note],
    )


def common_keys(entries: Sequence[Scored]) -> tuple[list[Key], list[str]]:
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
    note = f"Left out, for not all columns have them, made of the same classes: {', '.join(gone)}."
    return keys, [note] if gone else []


def optimism_gaps(columns: Sequence[Column], rows: Mapping[Key, Sequence[Cell]]) -> list[str]:
    """What each slice split promises above each patient split, a line per score; nothing where all are split alike."""
    sliced = [c for c, column in enumerate(columns) if column.split == "slice"]
    whole = [c for c, column in enumerate(columns) if column.split == "patient"]
    scores = list(dict.fromkeys(key[2] for key in rows))
    return [
        f"optimism gap (slice split minus patient split), {TITLES.get(score, score)}, {columns[s].name} minus "
        f"{columns[p].name}: {_gap(rows, score, s, p)}"
        for s in sliced
        for p in whole
        for score in scores
    ]


def best_columns(columns: Sequence[Column], cells: Sequence[Cell]) -> set[int]:
    """Which columns of a row are marked: the highest of each split, as printed; none of a split whose columns are equal."""
    best: set[int] = set()
    for split in SPLITS:
        shown = {
            c: round(cell.value, 3) for c, cell in enumerate(cells) if columns[c].split == split and cell.value is not None
        }
        if len(set(shown.values())) > 1:
            best |= {c for c, value in shown.items() if value == max(shown.values())}
    return best


def title(structure: Sequence[str]) -> str:
    """How (kind, structure) is called in a table."""
    kind, name = structure[:2]
    if kind == "level":
        return f"per {name}"
    return "class mean" if kind == "mean" else f"{name} ({kind})"


def counted(number: int, thing: str) -> str:
    """A number and its noun."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _common(one: Mapping[str, float] | list[str], other: Mapping[str, float] | list[str]) -> list[str]:
    return sorted(set(one) & set(other))


def _table(scores: Sequence[Mapping[str, float]], patients: Sequence[str]) -> np.ndarray:
    """(patients, scores) float64."""
    return np.array([[score[patient] for score in scores] for patient in patients], np.float64).reshape(
        len(patients), len(scores)
    )


def _means(entry: Scored, keys: Sequence[Key], seed: int, resamples: int) -> list[Cell]:
    table = _table([entry.values[key] for key in keys], entry.patients)
    return [
        Cell(summary.mean, summary.low, summary.high, summary.patients) for summary in summarise_columns(table, seed, resamples)
    ]


def _differences(entry: Scored, reference: Scored, keys: Sequence[Key], seed: int, resamples: int) -> list[Difference]:
    """A difference per key; no test between two splits, whose networks did not learn from the same kind of data."""
    both = _common(entry.patients, reference.patients)
    other_split = entry.split != reference.split
    if not both and not other_split:
        raise UserError(f"{entry.name} and {reference.name}: expected patients that both have; received none in common")
    if not both:
        return [Difference(None, None, "no patient in common")] * len(keys)
    one, other = (_table([scored.values[key] for key in keys], both) for scored in (entry, reference))
    found = paired_columns(one, other, seed, resamples)
    note = "other split" if other_split else ""
    return [Difference(pair, None if other_split else pair.p, note or ("too few" if pair.p is None else "")) for pair in found]


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """The differences of a row with p corrected for how many were tested."""
    values = holm([found.p for found in differences])
    return [Difference(found.paired, p, found.note) for found, p in zip(differences, values, strict=True)]


def _holm_note(entries: Sequence[Scored]) -> list[str]:
    several = sum(entry.split == entries[0].split for entry in entries[1:]) > 1
    return ["p is corrected by Holm's rule over the columns of a row, not over rows."] if several else []


def _split_notes(columns: Sequence[Column]) -> list[str]:
    return [SPLIT_RULE] if any(column.split == "slice" for column in columns) else []


def _left_out(entries: Sequence[Scored]) -> list[str]:
    """Whom the differences leave out, a line per pair and side."""
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


def _gap(rows: Mapping[Key, Sequence[Cell]], score: str, sliced: int, whole: int) -> str:
    """The differences of one score's means, of all structures."""
    texts = []
    for key, cells in rows.items():
        one, other = cells[sliced].value, cells[whole].value
        if key[2] == score:
            texts.append(f"{title(key)} {'n/a' if one is None or other is None else f'{one - other:+.3f}'}")
    return ", ".join(texts)
