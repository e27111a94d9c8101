"""Held-out tests of a study: whole volumes of the test cases of its records, predicted and scored by every run of them.

STUDY/predictions/RUN/RECORDS   predictions of a run on the test cases of some records, and their scores
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import Problems, UserError
from common.files import remove_files, write_text
from common.metrics.catalogue import METRICS, expect_metric
from data_prep.records.folder import Records
from data_prep.structures import scored_structures
from evaluation.experiments import runner
from evaluation.experiments.plan import PlannedRun, StudyRecords
from evaluation.experiments.settings import parse_entry
from evaluation.heads import evaluators_of, voxel_folders
from evaluation.inference.predictions import MANIFEST as PREDICTIONS
from evaluation.inference.predictions import PREDICTED, SCORES, is_current
from evaluation.scores.folder import has_current_scores
from training.run import Run


@dataclass(kw_only=True)
class HeldOutTest:
    """A test of all runs that train on some records: their test cases, over whole volumes, on the patients' own grid."""

    records: str
    """Name of the records in the study."""
    structures: list[str] = field(default_factory=lambda: ["WT"])
    """Regions and classes, or class_mean, that the table has."""
    metric: str = "dice"
    """Metric of evaluation.score that the table has."""
    source: Path | None = None
    """Scans that the records were built from; null: their place at that time."""


@dataclass(frozen=True)
class OpenTest:
    """A test whose records and scans have been found.

    Attributes:
        settings: of the test.
        records: opened.
        source: folder of the scans.
        subset: of the records.
        cases: of the subset.
        metrics: of all tests on these records, which are scored together.
    """

    settings: HeldOutTest
    records: Records
    source: Path
    subset: str
    cases: list[str]
    metrics: list[str]

    @property
    def name(self) -> str:
        """Name of the records."""
        return self.settings.records


def open_tests(values: Sequence[dict[str, Any]], records: StudyRecords, subset: str) -> list[OpenTest]:
    """Open the tests of a study.

    Args:
        values: as the study's file has them.
        records: of the study.
        subset: whose cases are predicted.

    Raises:
        UserError: unknown records, structure or metric; no cases; no scans; or other scans than another test of the records.
    """
    tests = []
    settings: list[HeldOutTest] = [parse_entry(HeldOutTest, entry, "--tests") for entry in values]
    for test in settings:
        if test.records not in records.folders:
            raise UserError(f"--tests: records: expected one of {', '.join(records.folders)}; received {test.records}")
        opened = records.folders[test.records]
        known = list(dict.fromkeys(structure.name for structure in scored_structures(opened.schema)))
        unknown = [name for name in test.structures if name not in known]
        if unknown or not test.structures:
            received = ", ".join(unknown) or "none"
            raise UserError(f"--tests: {test.records}: structures: expected some of {', '.join(known)}; received {received}")
        expect_metric(f"tests: {test.records}: metric", test.metric)
        sources = {str(each.source) for each in settings if each.records == test.records}
        if len(sources) > 1:
            raise UserError(
                f"--tests: {test.records}: expected one source for all its tests; received {', '.join(sorted(sources))}"
            )
        source = test.source or Path(opened.source["path"])
        if not source.exists():
            raise UserError(
                f"--tests: {test.records}: expected the scans of {opened.path} in {source}; found nothing there; give their "
                "place as `source` of the test"
            )
        cases = opened.subset(subset)
        if not cases:
            raise UserError(f"{opened.path}: has no {subset} cases to score on; choose another --subset")
        metrics = list(dict.fromkeys(each.metric for each in settings if each.records == test.records))
        tests.append(OpenTest(test, opened, source, subset, cases, metrics))
    return tests


def check_runs(planned: Sequence[PlannedRun], tests: Sequence[OpenTest]) -> None:
    """Refuse runs that cannot be tested.

    These are runs of several segmentation heads none of which is named like the records that they are tested on, and runs of
    a fold or of a slice split that would be tested on cases that they are trained on.

    Raises:
        Problems: a line for each such run.
    """
    wrong = {}
    for run in planned:
        heads = [name for name, head in run.config.heads.items() if head.per_voxel]
        for test in tests:
            divided = run.config.split == "slice" or run.config.fold is not None
            if test.subset != "test" and divided and test.name in run.records:
                setting = "split: slice" if run.config.split == "slice" else f"fold: {run.config.fold}"
                wrong[run.name] = (
                    f"{run.name}: {setting}: may train on {test.subset} cases of {test.name}, on which it would be tested; "
                    "take --subset test"
                )
            if len(heads) > 1 and test.name in run.records and test.name not in heads:
                wrong[run.name] = (
                    f"{run.name}: expected a head named {test.name}, as the records of the test; received {', '.join(heads)}"
                )
    if wrong:
        raise Problems(wrong.values(), "nothing was trained")


def own_tests(run: PlannedRun, tests: Sequence[OpenTest]) -> list[OpenTest]:
    """Tests of a run: those whose records it trains on, one for each records folder."""
    return list({test.name: test for test in tests if test.name in run.records}.values())


def head_folder(out: Path, folder: Path, test: str) -> Path:
    """Predictions that count in a test: those of the run's head of the test's name, or of its only head.

    Args:
        out: of all predictions of the run in this test.
        folder: of the run.
        test: name of its records.
    """
    evaluators = [each for each in evaluators_of([Run(folder)]) if each.writes_voxels]
    folders = dict(zip((each.name for each in evaluators), voxel_folders(out, evaluators), strict=True))
    return folders.get(test, out)


def predictions_folder(study: Path, run: PlannedRun, test: str) -> Path:
    """Folder of a run's predictions in a test."""
    return study / "predictions" / run.folder.name / test


def run_test(study: Path, run: PlannedRun, test: OpenTest) -> str | None:
    """Predict and score a trained run in a test, as far as that is not done for its present weights.

    Returns:
        The reason of a failure, if it failed.
    """
    out, log = predictions_folder(study, run, test.name), run.training.log
    if not is_tested(study, run, test):
        remove_files(out, PREDICTED)
        cases = study / "logs" / f"{test.name}_{test.subset}.txt"
        write_text(cases, "".join(f"{case}\n" for case in test.cases))
        places = ("--runs", run.folder, "--source", test.source, "--cases", cases, "--out", out)
        print(f"  predicting {len(test.cases)} cases of {test.name}", flush=True)
        status = runner.call("evaluation.predict", [*places, "--overlays", "false"], log)
        if status:
            return runner.failure("prediction", status, log)
    folder = head_folder(out, run.folder, test.name)
    if has_current_scores(folder / SCORES, folder / PREDICTIONS, test.metrics):
        return None
    print(f"  scoring {test.name}", flush=True)
    further = [name for name in test.metrics if not METRICS[name].by_default]
    words = ["--predictions", folder, "--source", test.source, *(["--metrics", *further] if further else [])]
    status = runner.call("evaluation.score", words, log)
    return runner.failure("scoring", status, log) if status else None


def is_tested(study: Path, run: PlannedRun, test: OpenTest) -> bool:
    """True where a run's test cases are predicted with its present weights."""
    folder = head_folder(predictions_folder(study, run, test.name), run.folder, test.name)
    return is_current(folder, [Run(run.folder)], test.cases)


def scored_folders(study: Path, planned: Sequence[PlannedRun], test: OpenTest) -> Mapping[str, dict[int | None, Path]]:
    """Scored predictions of a test: run -> seed -> folder, in the order of the study's file."""
    found: dict[str, dict[int | None, Path]] = {}
    for run in planned:
        has_weights = (run.folder / "run.json").is_file() and any(run.folder.glob("*.weights.h5"))
        if test.name in run.records and has_weights and is_tested(study, run, test):
            folder = head_folder(predictions_folder(study, run, test.name), run.folder, test.name)
            if has_current_scores(folder / SCORES, folder / PREDICTIONS, test.metrics):
                found.setdefault(run.name, {})[run.seed] = folder
    return found
