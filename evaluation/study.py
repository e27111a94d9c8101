"""Command: train and score several runs and compare them in one table, or search hyper-parameters, or both; resumable.

STUDY/runs/NAME   a run each          STUDY/table.csv, table.md     the runs, scored and ranked
      trials/0..  a run each          STUDY/trials.csv, trials.md   the trials of the sweep
      logs/       their output        STUDY/sweep.db, sweep.yaml    state of the sweep, and its settings
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from common import cli
from common.errors import Problems, UserError
from common.files import lock
from common.tables import counted
from data_prep.records.folder import Records
from evaluation.experiments import runner
from evaluation.experiments.runs import Epochs, train_run, training_of
from evaluation.experiments.settings import RunSettings, changed_setting, locate_config, parse_entry, training_config
from evaluation.experiments.space import SweepConfig
from evaluation.experiments.sweep import Sweep
from evaluation.experiments.table import (
    check_ranking,
    ranked,
    rankings,
    read_result,
    result_columns,
    scores_file,
    write_table,
)
from training.config import TrainConfig
from training.run import Run


@dataclass(kw_only=True)
class StudyConfig(cli.ConfigWithFiles):
    """Train several runs, score them and rank them in one table; or search for the best settings; or both.

    A call that was stopped is resumed by the same command: finished runs are kept, a half-trained one is resumed, one that
    failed is tried again, and scores are kept unless their run changed. Runs may be added and taken out.
    """

    records: Path
    """Records, made by data_prep.make_records."""
    out: Path
    """Folder of the study."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """The runs, each with `name`, `train` (a config of training.train by its path relative to the study's file, or its content)
    and optional `options` that differ from it, such as {input.copies: false, epochs: 3}."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of all runs and trials; those of a run win over them."""
    subset: Literal["train", "validation", "test"] | None = None
    """Subset on which the runs are scored; default: test where the records have test cases, else validation."""
    rank_by: str = "dice"
    """Score that ranks the runs: a metric of evaluation.score, e.g. dice, of the mean over the foreground classes; of a region
    or class, such as dice_WT; of the mean over all classes, such as iou_with_background; loss or accuracy."""
    sweep: dict[str, Any] | None = None
    """A search with Optuna (requirements-sweep.txt): `train` and `options` as in a run; `space`: option -> choices [a, b] or
    range {low: 0, high: 1, log: false, step: null}; `trials`; `metric`, such as val_mean_iou, and `direction`; `seed`; `prune`,
    `startup` (trials before any is pruned) and `warmup` (epochs before that); see configs/glioma/sweep.yaml."""


@dataclass(frozen=True)
class _Plan:
    """A run of the study: its training, and every setting of it."""

    training: runner.Training
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.training.folder


def main(config: StudyConfig) -> None:
    """Train, score and rank the runs, then search; prints the tables and, at the end, what failed."""
    if not config.runs and config.sweep is None:
        raise UserError("nothing to do: give runs, or a sweep, such as by --config configs/glioma/study.yaml")
    records = Records(config.records)
    check_ranking(config.rank_by, records.schema)
    subset = config.subset or ("test" if records.subset("test") else "validation")
    file = config.config_files[-1] if config.config_files else None
    plans = _plans(config, records, subset, file)
    sweep = None
    if config.sweep is not None:
        settings: SweepConfig = parse_entry(SweepConfig, locate_config(config.sweep, file), "--sweep")
        sweep = Sweep(settings, config.options, records, config.out)
    with lock(config.out):
        _refuse_changes(plans, records)
        if sweep is not None:
            sweep.refuse_changes()
        _warn_of_missing_copies(plans, records)
        problems = _run_all(config, plans, subset)
        if plans:
            _report(config, plans, records, subset)
        if sweep is not None:
            problems += sweep.run()
    if problems:
        raise Problems(problems, "the rest is done; the same command tries again what failed")


def _plans(config: StudyConfig, records: Records, subset: str, file: Path | None) -> list[_Plan]:
    """Settings of every run; all mistakes in them are listed before anything is trained."""
    plans: list[_Plan] = []
    wrong = []
    for number, values in enumerate(config.runs, 1):
        try:
            run: RunSettings = parse_entry(RunSettings, locate_config(values, file), "--runs")
            run.check()
            training = training_config(run, config.options)
            training.check()
            if training.split == "patient" and not records.subset(subset, training.fold):
                raise UserError(f"{records.path}: has no {subset} cases to score on; choose another --subset")
            plans.append(_Plan(training_of(config.out / "runs" / run.name, config.records), training))
        except UserError as error:
            wrong.append(f"{values.get('name', f'run {number}')}: {error}")
    names = [plan.folder.name for plan in plans]
    wrong += [
        f"--runs: expected different names; received {name} twice" for name in dict.fromkeys(names) if names.count(name) > 1
    ]
    if wrong:
        raise Problems(wrong, f"{len(wrong)} of {counted(len(config.runs), 'run')} cannot be trained")
    return plans


def _refuse_changes(plans: list[_Plan], records: Records) -> None:
    """Refuse to mix trainings of other settings, or of other records, with those that were begun before."""
    changed = []
    for plan in plans:
        if not (plan.folder / "run.json").is_file():
            continue
        run = Run(plan.folder)
        setting = changed_setting(run, plan.config)
        if not run.trained_on(records):
            setting = "records"
        if setting is not None:
            changed.append(f"{plan.folder}: was begun with another --{setting}; rename the run, or choose another --out")
    if changed:
        raise Problems(changed, "nothing was trained")


def _warn_of_missing_copies(plans: list[_Plan], records: Records) -> None:
    """Warn of runs that should differ in their use of augmented copies, on records without copies."""
    copies = {plan.folder.name: plan.config.input.copies for plan in plans}
    if records.copies == 0 and len(set(copies.values())) > 1:
        named = {used: ", ".join(name for name, each in copies.items() if each == used) for used in (True, False)}
        print(
            f"warning: {records.path}: has no augmented copies, so input.copies changes nothing: {named[True]} (true) train on "
            f"the same examples as {named[False]} (false); build the records by make_records --augment.copies 1",
            flush=True,
        )


def _run_all(config: StudyConfig, plans: list[_Plan], subset: str) -> list[str]:
    """Train and score every run; returns a line for each that failed."""
    problems = []
    for number, plan in enumerate(plans, 1):
        print(f"run {number} of {len(plans)}: {plan.folder.name}", flush=True)
        problem = _run(config, plan, subset)
        if problem is not None:
            print(f"  {problem}", flush=True)
            problems.append(f"{plan.folder.name}: {problem}")
    return problems


def _run(config: StudyConfig, plan: _Plan, subset: str) -> str | None:
    """Train and score a run, as far as that is not done; returns the reason of a failure, if it failed."""
    folder, log = plan.folder, plan.training.log
    status = train_run(plan.training, plan.config, Epochs(folder, plan.config))
    problem = runner.training_failure(plan.training, status)
    if problem is not None or _is_scored(folder, subset):
        return problem
    words = ["--run", folder, "--records", config.records, "--subset", subset]
    status = runner.call("evaluation.score", words, log)
    return runner.failure("scoring", status, log) if status else None


def _is_scored(folder: Path, subset: str) -> bool:
    """True where a run has scores that are not older than its weights."""
    file = scores_file(folder, subset)
    return file.is_file() and file.stat().st_mtime_ns >= Run(folder).weights.stat().st_mtime_ns


def _report(config: StudyConfig, plans: list[_Plan], records: Records, subset: str) -> None:
    """Write and print the table of the runs that are scored, and the command that draws their learning curves."""
    scored = [plan.folder for plan in plans if (plan.folder / "run.json").is_file() and _is_scored(plan.folder, subset)]
    if not scored:
        return
    results = ranked([read_result(folder, subset) for folder in scored], config.rank_by, records.schema)
    _, heading = rankings(records.schema)[config.rank_by]
    note = f"Scored on the {subset} cases of {config.records}, on the prepared grid; ranked by {heading}."
    if len(results) > 1:
        note += " The first place was chosen on these cases, so its scores are optimistic."
    title = f"# {config.out.resolve().name}"
    text = write_table(config.out / "table", result_columns(results, config.rank_by, records.schema), title, [note])
    print(f"\n{text}\ntables: {config.out / 'table.csv'}, {config.out / 'table.md'}; runs: {config.out / 'runs'}")
    runs = [str(result.folder) for result in results]
    words = ["python", "-m", "evaluation.plots", "--runs", *runs, "--out", str(config.out / "figures")]
    print(f"learning curves of all runs in one figure:\n  {shlex.join(words)}")


if __name__ == "__main__":
    cli.run(main, StudyConfig)
