"""Command: train and score several runs and compare them in one table, or search hyper-parameters, or both; resumable.

STUDY/runs/NAME     a run each          STUDY/table.csv, .md, .tex    the runs, scored and ranked
      trials/0..    a run each          STUDY/trials.csv, .md, .tex   the trials of the sweep
      logs/         their output        STUDY/sweep.db, sweep.yaml    state of the sweep, and its settings

With `tests`, in the place of table:

STUDY/predictions/  of each run         STUDY/study.csv, .md, .tex    scores on held-out patients, with differences
      classification/                         classification.csv      of the patients' classes
      figures/      of scores, curves         cost.csv                parameters, seconds, memory, minutes
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from common import cli
from common.config_bases import ConfigWithFiles, ConfigWithTrust
from common.errors import Problems, UserError
from common.files import lock, remove_unfinished, write_text
from common.tables import for_terminal, latex_of
from data_prep.records.folder import Records
from evaluation.experiments import held_out_classes, held_out_figures, held_out_table, runner
from evaluation.experiments.held_out import OpenTest, check_runs, open_tests, own_tests, run_test, scored_folders
from evaluation.experiments.held_out_classes import (
    OpenClassification,
    class_columns,
    class_heading,
    class_rows,
    open_classifications,
    run_classification,
)
from evaluation.experiments.plan import PlannedRun, StudyRecords, plan_runs, refuse_changes, training_order
from evaluation.experiments.runs import Epochs, train_run
from evaluation.experiments.settings import locate_config, parse_entry
from evaluation.experiments.space import SweepConfig
from evaluation.experiments.sweep import Sweep
from evaluation.experiments.table import (
    check_ranking,
    markdown_table,
    named_metrics,
    ranked,
    rankings,
    read_result,
    result_columns,
    scores_file,
    write_csv,
    write_table,
)
from evaluation.experiments.timing import estimated_time
from evaluation.heads.base import FIGURES
from evaluation.scores.folder import has_current_scores
from evaluation.scores.trained import trained_notes
from training.run import Run

Evaluate = Callable[[PlannedRun], str | None]
"""Evaluation of a trained run, as far as it is not done; returns the reason of a failure, if it failed."""


@dataclass(kw_only=True)
class StudyConfig(ConfigWithFiles, ConfigWithTrust):
    """Train several runs, score them and rank them in one table; or search for the best settings; or both.

    A call that was stopped is resumed by the same command: finished runs are kept, a half-trained one is resumed, one that
    failed is tried again, and scores are kept unless their run changed. Runs may be added and taken out. With `tests` the runs
    are compared on whole volumes of held-out patients instead, and may train on different records.
    """

    records: dict[str, Path] | Path
    """Records, made by glioskull make_records: a folder; or several with names, such as {hgg: R1, mets: R2}."""
    out: Path
    """Folder of the study."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """The runs, each with `name`, `train` (a config of `train` by its path relative to the study's file, or its content) and
    optional `options` that differ from it, such as {input.copies: false, epochs: 3}; `records`, names of folders or
    {name: hgg, share: 0.6, heads: [hgg]}, default: all; `init_from`, the name of the run whose weights it begins with."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of all runs and trials; those of a run win over them."""
    seeds: list[int] = field(default_factory=list)
    """Seeds with which every run is trained, each in a folder of its own, such as NAME_seed0; default: the config's seed."""
    subset: Literal["train", "validation", "test"] | None = None
    """Subset on which the runs are scored; default: test where the records have test cases, else validation."""
    rank_by: str = "dice"
    """Score that ranks the runs: a metric of glioskull score, e.g. dice, of the mean over the foreground classes; of a region
    or class, such as dice_WT; of the mean over all classes, such as iou_with_background; loss or accuracy; of lesions by a
    rule, such as lesion_dice@brats2023-met_WT (docs/metrics.md)."""
    tests: list[dict[str, Any]] = field(default_factory=list)
    """Tests on held-out patients, each with the name of `records` on whose test cases all runs that train on them are
    predicted; `structures`, such as [WT]; `metric`, such as dice; `source`, the scans, default: their place when the records
    were built. Or with `attribute`, such as subtype, and optional `classes` and `features`: the classes of the test patients by
    the features of each run, as classify_features --division held_out has them."""
    time_first: bool = False
    """Time some steps of the first run that is left, and print how long the trainings will take, before they begin."""
    ids: bool = True
    """Name the worst patients in the figures of the tests."""
    reference: str | None = None
    """Run of which the tests print the paired difference from each other run."""
    sweep: dict[str, Any] | None = None
    """A search with Optuna (requirements-sweep.txt): `train` and `options` as in a run; `space`: option -> choices [a, b] or
    range {low: 0, high: 1, log: false, step: null}; `trials`; `metric`, such as val_mean_iou, and `direction`; `seed`; `prune`,
    `startup` (trials before any is pruned) and `warmup` (epochs before that); see configs/glioma/sweep.yaml."""


def main(config: StudyConfig) -> None:
    """Train, score and rank the runs, then search; prints the tables and, at the end, what failed."""
    if not config.runs and config.sweep is None:
        raise UserError("nothing to do: give runs, or a sweep, such as by --config configs/glioma/study.yaml")
    records = StudyRecords(config.records)
    if config.tests:
        _compare(config, records)
    else:
        _rank(config, records)


def _rank(config: StudyConfig, named: StudyRecords) -> None:
    """Study of one records folder: rank the runs by their scores on its slices, then search."""
    if len(named.folders) > 1:
        raise UserError("--tests: expected tests for several --records, such as [{records: hgg}]; received none")
    records = next(iter(named.folders.values()))
    check_ranking(config.rank_by, records.schema)
    subset = config.subset or ("test" if records.subset("test") else "validation")
    file = config.config_files[-1] if config.config_files else None
    planned = plan_runs(
        config.runs, config.options, config.seeds, named, config.out, file, lambda run: _check(run, records, subset)
    )
    sweep = None
    if config.sweep is not None:
        settings: SweepConfig = parse_entry(SweepConfig, locate_config(config.sweep, file), "--sweep")
        sweep = Sweep(settings, config.options, records, config.out)
    with _locked(config):
        refuse_changes(planned, named)
        if sweep is not None:
            sweep.refuse_changes()
        _warn_of_missing_copies(planned, records)
        metrics = named_metrics(config.rank_by, records.schema)
        problems = _run_all(config, planned, lambda run: _score(run, records.path, subset, metrics))
        if planned:
            _report(config, planned, records, subset)
        if sweep is not None:
            problems += sweep.run()
    if problems:
        raise Problems(problems, "the rest is done; the same command tries again what failed")


def _compare(config: StudyConfig, records: StudyRecords) -> None:
    """Study with tests: compare the runs on whole volumes of held-out patients."""
    if config.sweep is not None:
        raise UserError("--sweep: expected a study without tests, which a search does not use; leave one of them out")
    file = config.config_files[-1] if config.config_files else None
    tests = open_tests([each for each in config.tests if "attribute" not in each], records, config.subset or "test")
    classifications = open_classifications(config.tests, records)
    planned = plan_runs(config.runs, config.options, config.seeds, records, config.out, file)
    names = list(dict.fromkeys(run.name for run in planned))
    if config.reference is not None and config.reference not in names:
        raise UserError(f"--reference: expected one of {', '.join(names)}; received {config.reference}")
    check_runs(planned, tests)
    with _locked(config):
        refuse_changes(planned, records)
        problems = _run_all(config, planned, lambda run: _test(config.out, run, tests, classifications))
        _report_tests(config, planned, tests, classifications)
    if problems:
        raise Problems(problems, "the rest is done; the same command tries again what failed")


@contextmanager
def _locked(config: StudyConfig) -> Iterator[None]:
    """Lock of the study's folder, which must be one of a study, or empty but for the config; half written files are removed."""
    is_study = any((config.out / name).is_dir() for name in ("logs", "runs", "trials"))
    with lock(config.out, "" if is_study else "a study", [path.name for path in config.config_files]):
        remove_unfinished(config.out, deep=False)
        remove_unfinished(config.out / FIGURES)
        yield


def _check(run: PlannedRun, records: Records, subset: str) -> None:
    """Refuse a run on records without cases to score on."""
    if run.config.split == "patient" and not records.subset(subset, run.config.fold):
        raise UserError(f"{records.path}: has no {subset} cases to score on; choose another --subset")


def _warn_of_missing_copies(planned: Sequence[PlannedRun], records: Records) -> None:
    """Warn of runs that should differ in their use of augmented copies, on records without copies."""
    copies = {plan.folder.name: plan.config.input.copies for plan in planned}
    if records.copies == 0 and len(set(copies.values())) > 1:
        named = {used: ", ".join(name for name, each in copies.items() if each == used) for used in (True, False)}
        print(
            f"warning: {records.path}: has no augmented copies, so input.copies changes nothing: {named[True]} (true) train on "
            f"the same examples as {named[False]} (false); build the records by make_records --augment.copies 1",
            flush=True,
        )


def _run_all(config: StudyConfig, planned: Sequence[PlannedRun], evaluate: Evaluate) -> list[str]:
    """Train and evaluate every run, each after the one that it begins with; returns a line for each that failed."""
    problems = {}
    if config.time_first and planned:
        print(estimated_time(config.out, planned), flush=True)
    for number, plan in enumerate(training_order(planned), 1):
        print(f"run {number} of {len(planned)}: {plan.folder.name}", flush=True)
        problem: str | None
        if plan.init_from is not None and plan.init_from.name in problems:
            problem = f"begins with {plan.init_from.name}, which failed"
        else:
            status = train_run(plan.training, plan.config, Epochs(plan.folder, plan.config))
            problem = runner.training_failure(plan.training, status) or evaluate(plan)
        if problem is not None:
            print(f"  {problem}", flush=True)
            problems[plan.folder.name] = problem
    return [f"{name}: {problem}" for name, problem in problems.items()]


def _score(run: PlannedRun, records: Path, subset: str, metrics: Sequence[str]) -> str | None:
    """Score a run on slices of the records, as far as that is not done; returns the reason of a failure, if it failed.

    Args:
        run, records, subset: of the study.
        metrics: that are computed besides the default ones.
    """
    folder, log = run.folder, run.training.log
    if _is_scored(folder, subset, metrics):
        return None
    words = ["--run", folder, "--records", records, "--subset", subset, "--metrics", f"[{','.join(metrics)}]"]
    status = runner.call("evaluation.score", words, log)
    return runner.failure("scoring", status, log) if status else None


def _test(study: Path, run: PlannedRun, tests: Sequence[OpenTest], classifications: Sequence[OpenClassification]) -> str | None:
    """Predict and score a run in all its tests; returns the reasons of the failures, if any failed."""
    problems = [run_test(study, run, test) for test in own_tests(run, tests)]
    problems += [run_classification(study, run, each) for each in classifications if each.settings.records in run.records]
    return "; ".join(problem for problem in problems if problem is not None) or None


def _is_scored(folder: Path, subset: str, metrics: Sequence[str]) -> bool:
    """True where a run has scores of some metrics that are not older than its weights."""
    return has_current_scores(scores_file(folder, subset).parent, Run(folder).weights, metrics)


def _report(config: StudyConfig, planned: Sequence[PlannedRun], records: Records, subset: str) -> None:
    """Write and print the table of the runs that are scored, and the command that draws their learning curves."""
    metrics = named_metrics(config.rank_by, records.schema)
    begun = [plan.folder for plan in planned if (plan.folder / "run.json").is_file()]
    scored = [folder for folder in begun if _is_scored(folder, subset, metrics)]
    if not scored:
        return
    results = ranked([read_result(folder, subset) for folder in scored], config.rank_by, records.schema)
    _, heading = rankings(records.schema)[config.rank_by]
    note = f"Scored on the {subset} cases of {records.path}, on the prepared grid; ranked by {heading}."
    if len(results) > 1:
        note += " The first place was chosen on these cases, so its scores are optimistic."
    notes = [note, *trained_notes({result.folder.name: result.trained for result in results})]
    title = f"# {config.out.resolve().name}"
    text = write_table(config.out / "table", result_columns(results, config.rank_by, records.schema), title, notes)
    print(f"\n{for_terminal(text)}\ntables: {config.out / 'table.csv'}, {config.out / 'table.md'}; runs: {config.out / 'runs'}")
    runs = [str(result.folder) for result in results]
    words = ["glioskull", "plots", "--runs", *runs, "--out", str(config.out / FIGURES)]
    print(f"learning curves of all runs in one figure:\n  {shlex.join(words)}")


def _report_tests(
    config: StudyConfig,
    planned: Sequence[PlannedRun],
    tests: Sequence[OpenTest],
    classifications: Sequence[OpenClassification],
) -> None:
    """Write and print the tables of the tests, and draw their figures."""
    out, files = config.out, []
    parts, figures = _score_parts(config, planned, tests)
    if parts:
        files += [out / "study.csv", out / "cost.csv"]
    classes = [row for each in classifications for row in class_rows(out, planned, each, config.reference)]
    for each in classifications:
        rows = [row for row in classes if row.test == each.name]
        if rows:
            parts += [class_heading(each, rows), markdown_table(class_columns(rows, config.reference))]
    if classes:
        notes = [held_out_classes.NOTE] + ([held_out_classes.DIFFERENCE_NOTE] if any(row.difference for row in classes) else [])
        parts.append("\n".join(f"- {note}" for note in notes))
        write_csv(out / "classification.csv", class_columns(classes, config.reference))
        files.append(out / "classification.csv")
    if not parts:
        return
    text = "\n\n".join([f"# {out.resolve().name}", *parts]) + "\n"
    write_text(out / "study.md", text)
    write_text(out / "study.tex", latex_of(text))
    print(f"\n{for_terminal(text)}\ntables: {', '.join(map(str, [out / 'study.md', *files]))}; runs: {out / 'runs'}")
    print("\n".join(f"wrote {file}" for file in figures))


def _score_parts(config: StudyConfig, planned: Sequence[PlannedRun], tests: Sequence[OpenTest]) -> tuple[list[str], list[Path]]:
    """Tables of the tests on volumes and of the costs, as parts of study.md, and their figures; writes their CSV files."""
    out, reference = config.out, config.reference
    parts, rows, figures = [], [], []
    for test in tests:
        folders = scored_folders(out, planned, test)
        if not folders:
            continue
        scores = held_out_table.read_test(test, folders)
        found = held_out_table.score_rows(scores, reference)
        parts += [
            held_out_table.score_heading(scores, found),
            markdown_table(held_out_table.score_columns(found, reference)),
            "\n".join(trained_notes(scores.trained)),
        ]
        rows += found
        figures += held_out_figures.draw_scores(out / FIGURES, scores, config.ids)
    if not rows:
        return [], []
    for test in {row.test: test for test in tests for row in rows if row.test == test.name}.values():
        figures += held_out_figures.draw_curves(out / FIGURES, planned, test)
    compared = any(row.difference is not None for row in rows)
    parts.append("\n".join(f"- {note}" for note in held_out_table.score_notes([row.key[2] for row in rows], compared)))
    costs = held_out_table.read_costs(out, planned, tests)
    columns = held_out_table.cost_columns(costs)
    parts += ["## Cost", markdown_table(columns), "\n".join(f"- {note}" for note in held_out_table.COST_NOTES)]
    claim = held_out_table.cost_claim(costs, reference, held_out_table.specific_runs(planned, tests))
    write_csv(out / "study.csv", held_out_table.score_columns(rows, reference))
    write_csv(out / "cost.csv", columns)
    return [*parts, *([claim] if claim else [])], figures


if __name__ == "__main__":
    cli.run(main, StudyConfig)
