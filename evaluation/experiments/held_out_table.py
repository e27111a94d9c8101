"""Tables of held-out tests: scores of every run with paired differences, and the cost of one network against several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

from common.errors import UserError
from common.metrics.catalogue import METRICS, absent_rule
from common.metrics.statistics import INTERVAL_NOTE, PairedDifference, known_mean
from common.tables import counted
from data_prep.structures import structures_by_name
from evaluation.experiments.held_out import OpenTest, head_folder, own_tests, predictions_folder
from evaluation.experiments.plan import PlannedRun
from evaluation.experiments.table import Column
from evaluation.inference.predictions import is_finished, read_cost
from evaluation.scores.folder import read_scores
from evaluation.scores.trained import TrainedPatients
from evaluation.tables.comparison import TEST_RULE, UNTESTED, Comparison, RowKey, ScoredSegmentation, compare_scores, title
from evaluation.tables.scored import mean_scored, read_scored
from training.run import Run
from training.state.history import read_history

Folders = Mapping[str, Mapping[int | None, Path]]
"""Scored predictions of a test: run -> seed -> folder."""
DIFFERENCE_NOTE = (
    "Differences and p are of patients, each with the mean of all seeds; p is corrected by Holm's rule over the runs."
)


@dataclass(frozen=True)
class HeldOutScores:
    """Scores of all runs in a test.

    Attributes:
        test: the test.
        keys: its structures with its metric.
        seeds: run -> scores of each seed.
        runs: run -> mean of each patient's scores over the seeds.
        trained: run and seed -> patients of the test who trained it.
    """

    test: OpenTest
    keys: list[RowKey]
    seeds: dict[str, list[ScoredSegmentation]]
    runs: dict[str, ScoredSegmentation]
    trained: dict[str, TrainedPatients] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreRow:
    """Score of a run in a test, for one structure.

    Attributes:
        test: name of its records.
        key: structure and metric.
        run: its name.
        seeds, patients: how many.
        mean, low, high: over patients, with the interval.
        spread: standard deviation over seeds of the mean over patients; None for one seed.
        difference: reference minus this run; None for the reference itself, or where there is none.
        p: of the difference, corrected.
    """

    test: str
    key: RowKey
    run: str
    seeds: int
    patients: int
    mean: float
    low: float | None
    high: float | None
    spread: float | None
    difference: PairedDifference | None
    p: float | None


def read_test(test: OpenTest, folders: Folders) -> HeldOutScores:
    """Read the scores of a test.

    Args:
        test: the test.
        folders: of the runs that are scored, at least one.

    Raises:
        UserError: a folder of scores that is damaged or of another version.
    """
    structures = structures_by_name(test.records.schema)
    keys: list[RowKey] = [
        (structures[name].kind, structures[name].name, test.settings.metric) for name in test.settings.structures
    ]
    stored = {run: {seed: read_scores(folder) for seed, folder in each.items()} for run, each in folders.items()}
    seeds = {run: [read_scored(found, f"{run}, seed {seed}") for seed, found in each.items()] for run, each in stored.items()}
    runs = {run: mean_scored(each, run) for run, each in seeds.items()}
    for run, entry in runs.items():
        missing = [key for key in keys if key not in entry.values]
        if missing:
            raise UserError(f"{test.name}: {run}: expected {missing[0][2]} of {title(missing[0])}; its scores have none")
    trained = {
        run if len(each) == 1 else f"{run}, seed {seed}": found.trained
        for run, each in stored.items()
        for seed, found in each.items()
    }
    return HeldOutScores(test, keys, seeds, runs, trained)


def score_rows(scores: HeldOutScores, reference: str | None) -> list[ScoreRow]:
    """Rows of a test: structure by structure, every run.

    Args:
        scores: of the test.
        reference: run from which all others are subtracted; None: no differences.
    """
    against = reference if reference in scores.runs else None
    others = [run for run in scores.runs if run != against]
    order = others if against is None else [against, *others]
    comparison = compare_scores([scores.runs[run] for run in order], scores.keys)
    rows = []
    for key in scores.keys:
        for run, entry in scores.runs.items():
            cell = comparison.rows[key][order.index(run)]
            means = [known_mean(list(each.values[key].values())) for each in scores.seeds[run]]
            difference, p = (None, None) if against is None else _difference(comparison, key, order.index(run))
            rows.append(
                ScoreRow(
                    test=scores.test.name,
                    key=key,
                    run=run,
                    seeds=len(means),
                    patients=len(entry.patients),
                    mean=fmean(means) if cell.value is None else cell.value,
                    low=cell.low,
                    high=cell.high,
                    spread=stdev(means) if len(means) > 1 else None,
                    difference=difference,
                    p=p,
                )
            )
    return rows


def _difference(comparison: Comparison, key: RowKey, column: int) -> tuple[PairedDifference | None, float | None]:
    """First column minus another one, and its corrected p; a comparison has the other column minus the first."""
    if column == 0:
        return None, None
    found = comparison.differences[key][column - 1]
    pair = found.paired
    if pair is None:
        return None, None
    low, high = (None if bound is None else -bound for bound in (pair.high, pair.low))
    return replace(pair, mean=-pair.mean, low=low, high=high), found.p


def score_columns(rows: Sequence[ScoreRow], reference: str | None) -> list[Column]:
    """Columns of rows: texts in Markdown, headed by the first row's metric, and numbers in CSV, where metrics may differ."""
    pairs = [row.difference for row in rows]
    scales = [METRICS[row.key[2]] for row in rows]
    texts = [scale.text(row.mean, row.low, row.high) for scale, row in zip(scales, rows, strict=True)]
    spreads = [
        None if row.spread is None else f"{row.spread:.{scale.decimals}f}" for scale, row in zip(scales, rows, strict=True)
    ]
    differences = [
        None if each is None else scale.text(each.mean, each.low, each.high, signed=True)
        for scale, each in zip(scales, pairs, strict=True)
    ]
    ps = [
        (UNTESTED if row.difference else None) if row.p is None else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
        for row in rows
    ]
    several = len({row.key for row in rows}) > 1
    text_columns = [
        Column(f"{scales[0].arrow_label} [95 %]", "", texts, markdown_only=True),
        Column("SD over seeds", "", spreads, markdown_only=True),
    ]
    if any(each is not None for each in pairs):
        text_columns += [
            Column(f"{reference} minus this run [95 %]", "", differences, markdown_only=True),
            Column("p", "", ps, markdown_only=True),
        ]
    numbers: dict[str, list[float | None]] = {
        "mean": [row.mean for row in rows],
        "low_95": [row.low for row in rows],
        "high_95": [row.high for row in rows],
        "sd_over_seeds": [row.spread for row in rows],
        "difference": [None if each is None else each.mean for each in pairs],
        "difference_low_95": [None if each is None else each.low for each in pairs],
        "difference_high_95": [None if each is None else each.high for each in pairs],
        "p": [None if each is None else each.p for each in pairs],
        "p_holm": [row.p for row in rows],
    }
    return [
        Column("test", "", [row.test for row in rows], csv_only=True),
        Column("structure", "", [row.key[1] for row in rows], csv_only=not several),
        Column("metric", "", [row.key[2] for row in rows], csv_only=True),
        Column("run", "", [row.run for row in rows]),
        Column("seeds", "d", [row.seeds for row in rows]),
        Column("patients", "d", [row.patients for row in rows], csv_only=True),
        *text_columns,
        *(Column(name, "", values, csv_only=True) for name, values in numbers.items()),
    ]


def score_heading(scores: HeldOutScores, rows: Sequence[ScoreRow]) -> str:
    """Heading of the table of a test."""
    structures = ", ".join(title(key) for key in scores.keys)
    sizes = {row.patients for row in rows}
    patients = counted(max(sizes), "patient") if len(sizes) == 1 else "patients"
    return f"## {scores.test.name}: {METRICS[rows[0].key[2]].heading} of {structures}, {patients}"


def score_notes(metrics: Sequence[str], compared: bool) -> list[str]:
    """Notes below the tables of the tests; those on differences where runs are `compared` with a reference."""
    return [
        "Whole volumes on the patients' own grid; a patient's score is the mean over the seeds.",
        f"{INTERVAL_NOTE}.",
        absent_rule([METRICS[name] for name in dict.fromkeys(metrics)]),
        *([TEST_RULE, DIFFERENCE_NOTE] if compared else []),
    ]


@dataclass(frozen=True)
class Cost:
    """Cost of a run, the mean over its seeds.

    Attributes:
        run: its name.
        parameters: trainable ones of the network.
        seconds: of prediction per case, the mean over the tests.
        memory_mb: peak of prediction beyond the process with its framework, the largest of the tests.
        minutes: of training, those of the run whose weights it begins with included.
    """

    run: str
    parameters: float
    seconds: float
    memory_mb: float
    minutes: float


def read_costs(study: Path, planned: Sequence[PlannedRun], tests: Sequence[OpenTest]) -> list[Cost]:
    """Costs of the runs that are trained and predicted, in the order of the study's file.

    Predictions of another version, whose memory was measured otherwise, have no cost.
    """
    found: dict[str, list[Cost]] = {}
    for run in planned:
        folders = []
        for test in own_tests(run, tests) if read_history(run.folder) else []:
            folders.append(head_folder(predictions_folder(study, run, test.name), run.folder, test.name))
        measured = [read_cost(folder) for folder in folders if is_finished(folder)]
        costs = [cost for cost in measured if "prediction_memory_mb" in cost]
        if costs:
            found.setdefault(run.name, []).append(
                Cost(
                    run=run.name,
                    parameters=max(cost.get("trainable_parameters", 0) for cost in costs),
                    seconds=fmean(cost["seconds_per_case"] for cost in costs),
                    memory_mb=max(cost["prediction_memory_mb"] for cost in costs),
                    minutes=training_minutes(run.folder),
                )
            )
    return [
        Cost(
            name,
            fmean(each.parameters for each in costs),
            fmean(each.seconds for each in costs),
            fmean(each.memory_mb for each in costs),
            fmean(each.minutes for each in costs),
        )
        for name, costs in found.items()
    ]


def training_minutes(folder: Path) -> float:
    """Minutes of a run's training and of the trainings whose weights it begins with, as far as these are there."""
    rows = read_history(folder)
    if not rows:
        return 0.0
    before: Path | None = Run(folder).config.init_from
    return rows[-1]["minutes"] + (0.0 if before is None else training_minutes(before))


def cost_columns(costs: Sequence[Cost]) -> list[Column]:
    """Columns of the table of costs, a row per run."""
    return [
        Column("run", "", [cost.run for cost in costs]),
        Column("parameters", ",.0f", [cost.parameters for cost in costs], "trainable_parameters"),
        Column("seconds a case", ".2f", [cost.seconds for cost in costs], "seconds_per_case"),
        Column("memory of prediction (MB)", ",.0f", [cost.memory_mb for cost in costs], "prediction_memory_mb"),
        Column("minutes of training", ".1f", [cost.minutes for cost in costs], "training_minutes"),
    ]


COST_NOTES = (
    "Parameters are those of the network that can be trained, of frozen layers too.",
    "Memory of prediction is the peak beyond the process with its framework loaded, before it loads networks or scans.",
    "Minutes of training include those of the run whose weights a run begins with.",
)


def specific_runs(planned: Sequence[PlannedRun], tests: Sequence[OpenTest]) -> list[str]:
    """Task-specific runs: for each test the first run that trains on its records alone, from no other run's weights."""
    names = []
    for test in {test.name: test for test in tests}.values():
        own = (run.name for run in planned if run.records == (test.name,) and run.init_from is None)
        names.append(next(own, ""))
    return [name for name in names if name]


def cost_claim(costs: Sequence[Cost], reference: str | None, specific: Sequence[str]) -> str | None:
    """Cost of one network for all tests beside the sum of those for one test each; None where one of them is missing.

    Args:
        costs: of the runs.
        reference: run of the one network.
        specific: task-specific runs that it replaces.
    """
    known = {cost.run: cost for cost in costs}
    if reference not in known or len(specific) < 2 or not set(specific) <= set(known) or reference in specific:
        return None
    one, parts = known[reference], [known[name] for name in specific]
    texts = []
    for name, form, unit in (
        ("parameters", ",.0f", "parameters"),
        ("seconds", ".2f", "s a case"),
        ("memory_mb", ",.0f", "MB of memory"),
        ("minutes", ".1f", "min of training"),
    ):
        mine, total = getattr(one, name), sum(getattr(part, name) for part in parts)
        share = f" ({mine / total:.0%})" if total else ""
        texts.append(f"{mine:{form}} against {total:{form}} {unit}{share}")
    return f"One network for all ({reference}) against the sum of {' + '.join(specific)}: {'; '.join(texts)}."
