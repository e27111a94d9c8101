"""Command: choose the post-processing of runs on their own validation patients."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError, expect_number
from common.files import lock, write_text
from common.finite import naming
from common.hardware.backend import load_backend
from common.metrics.catalogue import METRICS, expect_metric
from common.metrics.metric import Metric
from common.metrics.statistics import INTERVAL_NOTE, STUDENT, paired_columns, student_note, summarise_columns
from common.progress import progress
from common.tables import counted, csv_text, folded, wrapped
from data_prep.grid.masks import inside_mask
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import Records
from data_prep.structures import CLASS_MEAN, Structure, averaged, scored_structures, structures_by_name
from evaluation.inference.ensemble import Ensemble, InferenceConfig
from evaluation.inference.packed import Grid, PredictedCase, pack_case
from evaluation.inference.postprocess import FOREGROUND, describe, run_file, save
from evaluation.inference.provenance import find_training_records, merge_training_cases, print_training, unknown_training
from evaluation.inference.search import Objective, Trial, hysteresis_stages, region_stages, search
from evaluation.scores.lesions import rule_structures
from training.data.division import subset_cases
from training.heads.segmentation import SegmentationHead
from training.run import Run, open_runs

TABLE = "tune.csv"
LEAST_LEVEL = 0.01  # of hysteresis: a component of less probable voxels would fill the head
MOST_LEVELS = 255  # the number of thresholds, or of levels of hysteresis, that a probability reaches is stored in a byte
OPTIMISTIC = (
    "The setting was chosen on these patients, so its score is optimistic; score it on patients that neither trained nor "
    "chose it. Scores are means over patients of whole cases, on the records' grid: what the crop cut off is not counted."
)
UNFAIR = "in one of both means and not in the difference, so that neither compares the settings fairly."


@dataclass(kw_only=True)
class TuneConfig(ConfigWithTrust):
    """Choose threshold and smallest components of predicted segmentations, and rules on regions, on validation patients.

    Every run predicts its own validation patients; for the folds of a cross-validation one setting is chosen over all patients.
    The search goes in stages, and each keeps what those before it chose: first threshold, largest component and least voxels of
    the foreground's components together; then, with --hysteresis_low and --hysteresis_high, both thresholds of the foreground
    and of each region; then, where the schema has regions such as WT, TC and ET, the least voxels of each region's
    components, the outermost region first; last, the voxels in a case below which an innermost region is removed.
    Voxels that are removed from a region become a class of the region around it. The setting is stored in each run
    (postprocess.yaml, and tune.csv with the score of every setting that was tried; of several segmentation heads
    postprocess_HEAD.yaml and tune_HEAD.csv), in place of an earlier one.
    """

    runs: list[Path]
    """Run folders of networks with equal classes, or the folder of a cross-validation for all of its folds."""
    head: str | None = None
    """Segmentation head whose post-processing is chosen, such as mets; null: the only one."""
    records: Path | None = None
    """Records that the runs were trained on, where they have been moved, or where only some of several are to choose; null: all
    that annotate the head, by the paths in the runs."""
    metric: str = "dice"
    """Metric to improve: a metric of glioskull score with a direction, e.g. dice; one of masks, e.g. hd95, or of lesions by a
    rule, e.g. lesion_dice@brats2023-met, takes longer."""
    structure: str = CLASS_MEAN.name
    """Structure that is scored: a region or class of the schema; class_mean, the mean over the foreground classes; or
    region_mean, that over the regions."""
    thresholds: list[float] = field(default_factory=lambda: [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7])
    """Foreground probabilities to try, besides the most probable class."""
    least_voxels: list[int] = field(default_factory=lambda: [0, 10, 20, 50, 100, 200, 500, 1000])
    """Least voxels of the foreground's components to try, besides 0."""
    largest: bool = True
    """Also try to keep only the largest component of the foreground."""
    hysteresis_low: list[float] = field(default_factory=list)
    """Probabilities of the foreground and of each region that all voxels of a component reach, to try with each of
    --hysteresis_high, e.g. [0.2, 0.3, 0.4, 0.5]; by default hysteresis is not tried."""
    hysteresis_high: list[float] = field(default_factory=list)
    """Probabilities that the peak of a component reaches, e.g. [0.6, 0.7, 0.8, 0.9, 0.95]."""
    region_voxels: list[int] = field(default_factory=lambda: [10, 20, 50, 100, 200, 500])
    """Least voxels of each region's components to try, besides 0; `[]` leaves them as they are. A region that is the whole
    foreground is left to --least_voxels."""
    replace_below: list[int] = field(default_factory=lambda: [20, 50, 100, 200, 500, 1000])
    """Voxels in a whole case below which an innermost region, such as ET, becomes a class of the region around it, to try
    besides 0; `[]` leaves it as it is."""
    margin: float = 0.001
    """A stage must improve the metric by more than this, in its unit, to change the setting."""
    inside_only: bool = True
    """Call voxels that are zero in every channel background, as glioskull predict does where there is no brain mask."""
    flips: list[str] = field(default_factory=list)
    """Axes that are mirrored in turn, as in a later glioskull predict."""
    batch_size: int | None = None
    """Slices or patches at once, which changes speed and memory alone; default: 8 slices, or one patch."""

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            UserError: names the option and the expected values.
        """
        expect_metric("metric", self.metric, judged=True)
        for threshold in self.thresholds:
            expect_number("thresholds", threshold, 0, 1)
        levels = {*self.hysteresis_low, *self.hysteresis_high}
        for options, values in (("--thresholds", set(self.thresholds)), ("--hysteresis_low, --hysteresis_high", levels)):
            if len(values) > MOST_LEVELS:
                raise UserError(f"{options}: expected at most {MOST_LEVELS} different values; received {len(values)}")
        for option in ("hysteresis_low", "hysteresis_high"):
            for level in getattr(self, option):
                expect_number(option, level, LEAST_LEVEL, 1)
        if bool(self.hysteresis_low) != bool(self.hysteresis_high):
            raise UserError("--hysteresis_low, --hysteresis_high: expected both or none; received one of them")
        if self.hysteresis_low and min(self.hysteresis_low) > max(self.hysteresis_high):
            raise UserError("--hysteresis_low: expected a value up to one of --hysteresis_high; received larger ones alone")
        for option in ("least_voxels", "region_voxels", "replace_below"):
            for least in getattr(self, option):
                expect_number(option, least, 0)
        expect_number("margin", self.margin, 0)
        expect_number("batch_size", self.batch_size, 1)
        InferenceConfig(flips=tuple(self.flips))


@dataclass(frozen=True)
class _Job:
    """Head of a run, with records and their validation cases."""

    run: Run
    head: str
    records: Records
    cases: list[str]

    @property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions of the head."""
        return cast(SegmentationHead, self.run.heads[self.head]).schema


def main(config: TuneConfig) -> None:
    """Score settings stage by stage, choose one, store it in every run and print its scores before and after."""
    config.check()
    jobs = [job for run in open_runs(config.runs) for job in _jobs(run, config)]
    schema = _common_schema(jobs)
    InferenceConfig(flips=tuple(config.flips)).refuse_unused([job.run for job in jobs])
    objective = Objective(METRICS[config.metric], scored_parts(config.structure, schema, METRICS[config.metric]))
    _refuse_unknown_spacing(jobs, objective.metric)
    grid = make_grid(config)
    with ExitStack() as held:
        for folder in dict.fromkeys(job.run.path.resolve() for job in jobs):
            held.enter_context(lock(folder))
        cases = list(_predicted(jobs, grid, config))
        trials, chosen = search(cases, schema, grid, objective, config.margin, progress=True)
        files = _write(jobs, grid, trials, chosen, config)
    print(_report(trials, chosen, config))
    _print_training(jobs)
    print("\n" + "\n".join(f"wrote {file}" for file in files))


def make_grid(config: TuneConfig) -> Grid:
    """Grid of the settings to try, those that change nothing included."""
    return Grid(
        thresholds=[None, *sorted(set(config.thresholds))],
        largest=[False, True] if config.largest else [False],
        least=sorted({0, *config.least_voxels}),
        region_least=sorted(set(config.region_voxels) - {0}),
        below=sorted(set(config.replace_below) - {0}),
        lows=sorted(set(config.hysteresis_low)),
        highs=sorted(set(config.hysteresis_high)),
    )


def scored_parts(name: str, schema: LabelSchema, metric: Metric) -> list[Structure]:
    """Structures whose scores are averaged: one region or class, or all that a mean is over; of a lesion rule those it ranks.

    Raises:
        UserError: the schema has no such structure, or the rule ranks none of them.
    """
    known = structures_by_name(schema)
    if name not in known:
        raise UserError(f"--structure: expected one of {', '.join(known)}; received {name}")
    parts = averaged(known[name], schema)
    if metric.rule is None:
        return parts
    own = list(rule_structures(metric.rule, scored_structures(schema)).values())
    # A class may be another name of a region: enhancing tumor is ET.
    fitting = [part for part in parts if part.members in [each.members for each in own]]
    if not fitting:
        names = ", ".join(each.name for each in own) or "none of this schema"
        raise UserError(f"--structure: expected one that {metric.rule.name} ranks, {names}; received {name}")
    return fitting


def _refuse_unknown_spacing(jobs: Sequence[_Job], metric: Metric) -> None:
    """Refuse a metric in millimetres on records of a source without geometry."""
    for job in jobs if metric.needs_spacing else ():
        for case in job.cases:
            if job.records.cases[case].geometry.spacing_mm is None:
                raise UserError(
                    f"--metric {metric.name}: needs the distance of voxels; {job.records.path}: case {case} has none; "
                    "choose another metric"
                )


def _jobs(run: Run, config: TuneConfig) -> list[_Job]:
    """Run with its head, and the validation cases of each of its records; refuses runs without validation patients."""
    _ = run.weights  # refuses a run without a finished epoch
    heads = [name for name, each in run.heads.items() if each.per_voxel]
    if not heads:
        raise UserError(f"{run.path}: expected a run with a segmentation head; received heads {', '.join(run.heads)}")
    if (len(heads) > 1 and config.head is None) or config.head not in (None, *heads):
        raise UserError(f"--head: {run.path}: expected one of {', '.join(heads)}; received {config.head or 'none'}")
    head = config.head or heads[0]
    if run.config.split == "slice":
        raise UserError(
            f"{run.path}: trained with --split slice, so on slices of its validation patients too; "
            "tune a run that was trained with --split patient"
        )
    jobs = []
    for path in [config.records] if config.records else run.records_that_annotate(head):
        records = run.open_records(path)
        if not run.trained_on(records) or head not in run.heads_annotated_by(records):
            raise UserError(f"{path}: not the records that {run.path} trained {head} on; name those by --records")
        cases = [case for case in subset_cases(records, run.config, "validation") if records.cases[case].voxels.any()]
        jobs += [_Job(run, head, records, cases)] if cases else []
    if not jobs:
        raise UserError(
            f"{run.path}: has no annotated validation patients to choose on; "
            "give settings found by cross-validation to glioskull predict --postprocess FILE"
        )
    return jobs


def _common_schema(jobs: Sequence[_Job]) -> LabelSchema:
    schema = jobs[0].schema
    for job in jobs:
        if job.schema != schema:
            raise UserError(f"{job.run.path}: its schema differs from that of {jobs[0].run.path}; tune them one by one")
    return schema


def _predicted(jobs: Sequence[_Job], grid: Grid, config: TuneConfig) -> Iterator[PredictedCase]:
    """Every validation case as its own run predicts it, run by run."""
    load_backend()
    inference = InferenceConfig(flips=tuple(config.flips), batch_size=config.batch_size)
    with progress(sum(len(job.cases) for job in jobs), "predicting") as bar:
        for job in jobs:
            ensemble = Ensemble([job.run], [job.run.load_network()], inference, job.head)
            for case in job.cases:
                shard = job.records.shard(case)
                image = np.asarray(shard.image)
                inside = inside_mask(image) if config.inside_only else None
                if inside is not None and (np.count_nonzero(inside, axis=(1, 2)) != job.records.cases[case].brain).any():
                    raise UserError(
                        f"{job.records.path}: {case}: predict takes its mask of the brain, which records do not hold; "
                        "give --inside_only false here and to glioskull predict"
                    )
                truth, patient = bits_to_classes(shard.label), job.records.cases[case].patient
                spacing_mm = job.records.cases[case].geometry.spacing_mm
                with naming(f"case {case}"):
                    probabilities = ensemble.probabilities(image, inside)
                yield pack_case(patient, probabilities, truth, grid, job.schema, inside, spacing_mm)
                bar.update()


def _write(jobs: Sequence[_Job], grid: Grid, trials: Sequence[Trial], chosen: int, config: TuneConfig) -> list[Path]:
    """Write the table of settings and, last, the setting of every run; returns the files."""
    text = csv_text(_rows(trials, chosen, jobs[0].schema, grid))
    how = {
        "metric": config.metric,
        "structure": config.structure,
        "score_before": round(trials[0].mean, 6),
        "score_after": round(trials[chosen].mean, 6),
        "margin": config.margin,
        "patients": len(trials[0].scores),
        "patient_ids": sorted({job.records.cases[case].patient for job in jobs for case in job.cases}),
        "note": "mean over the validation patients of these runs, on which it was chosen: optimistic",
        "runs": [str(job.run.path.resolve()) for job in jobs],
        "grid": {
            "thresholds": grid.thresholds,
            "largest": grid.largest,
            "least_voxels": grid.least,
            "region_voxels": grid.region_least,
            "replace_below": grid.below,
            "hysteresis_low": grid.lows,
            "hysteresis_high": grid.highs,
        },
        "inside_only": config.inside_only,
    }
    files = []
    for job in {job.run.path: job for job in jobs}.values():
        table = run_file(job.run, job.head, TABLE)
        write_text(table, text)
        files += [table, save(job.run, job.head, trials[chosen].setting, how)]
    return files


def _print_training(jobs: Sequence[_Job]) -> None:
    """Print how many of the patients trained the runs; each patient counts for the runs that predict it."""
    found = [entry for job in jobs for entry in find_training_records(job.run, job.records, job.cases)]
    patients = {case: job.records.cases[case].patient for job in jobs for case in job.cases}
    print_training(merge_training_cases(found), patients, unknown_training([job.run for job in jobs]))


def _rows(trials: Sequence[Trial], chosen: int, schema: LabelSchema, grid: Grid) -> list[tuple[Any, ...]]:
    """Rows of the table of settings; an empty threshold is the most probable class, 0 voxels or an empty hysteresis no rule."""
    stages, pairs = region_stages(schema, grid), hysteresis_stages(schema, grid)
    rows = []
    for place, trial in enumerate(trials):
        setting = trial.setting
        below = {rule.structure: rule.below_voxels for rule in setting.replace}
        voxels = [(below if stage.is_all else setting.least_voxels).get(stage.region.name, 0) for stage in stages]
        least = setting.least_voxels.get(FOREGROUND, 0)
        levels = {rule.structure: f"{rule.low:g}/{rule.high:g}" for rule in setting.hysteresis}
        both = [levels.get(stage.structure) for stage in pairs]
        rows.append((trial.stage, setting.threshold, setting.largest, least, *both, *voxels, trial.mean, place == chosen))
    names = [*(pair.name for pair in pairs), *(stage.name for stage in stages)]
    return [("stage", "threshold", "largest", "least_voxels", *names, "score", "chosen"), *rows]


def _report(trials: Sequence[Trial], chosen: int, config: TuneConfig) -> str:
    """Text of the result: scores without and with the chosen setting and their difference, by mean and interval."""
    metric, before, after = METRICS[config.metric], trials[0].scores, trials[chosen].scores
    range_ = metric.interval_range([*before, *after])
    summaries = summarise_columns(np.stack([before, after], axis=1), [range_] * 2, [metric.may_lack_value] * 2)
    (change,) = paired_columns(after[:, None], before[:, None], [range_], [metric.may_lack_value])
    rows = []
    for name, row in zip(("no post-processing", "chosen setting"), summaries, strict=True):
        share = f" ({row.patients} of {len(before)} have a value)" if row.patients < len(before) else ""
        rows.append([name, metric.text(row.mean, row.low, row.high) + share])
    share = f" (on {change.n} of {len(before)} patients)" if change.n < len(before) else ""
    difference = metric.text(change.mean, change.low, change.high, signed=True) if change.n else "n/a"
    rows.append(["difference", difference + share])
    none = f"none of {len(trials) - 1} settings was better by more than {config.margin:g}"
    result = f"chosen: {describe(trials[chosen].setting)}" if chosen else none
    heading = f"{metric.arrow_label} of {config.structure}, {counted(len(before), 'validation patient')}"
    has_student = metric.worst is not None and summaries[0].interval_method == STUDENT
    one_sided = (
        [f"{counted(change.one_sided, 'patient')} with a value before or after alone: {UNFAIR}"] if change.one_sided else []
    )
    brackets = [f"In brackets: {INTERVAL_NOTE}."] if any(row.low is not None for row in summaries) else []
    student = student_note([f"{metric.heading} of {config.structure}"] if has_student else [])
    notes = [result, *one_sided, OPTIMISTIC, *brackets, *student]
    return "\n".join([heading, "", *folded(rows), "", *wrapped(notes)])


if __name__ == "__main__":
    cli.run(main, TuneConfig)
