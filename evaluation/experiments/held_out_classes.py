"""Classification tests of a study: the patients' classes by the features of every run, on held-out patients.

STUDY/classification/RUN/RECORDS_ATTRIBUTE   scores of a run, as `glioskull classify_features` writes them
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.errors import UserError
from common.files import checksum
from common.manifests import Kind, Number, Text, read_table
from common.metrics.classification import predicted_classes
from common.metrics.classification_intervals import accuracy_difference, accuracy_test
from common.metrics.statistics import FEWEST, holm
from data_prep.records.folder import Records
from evaluation.experiments import runner
from evaluation.experiments.plan import PlannedRun, StudyRecords
from evaluation.experiments.settings import parse_entry
from evaluation.experiments.table import Column
from evaluation.scores.classification import HEADINGS, SlicePredictions, summary
from evaluation.scores.facts import AGAIN, read_classification_facts
from training.run import Run

SCORES = "classification_scores.json"
NOTE = (
    "Logistic regression on the pooled bottleneck features of each run; the test patients trained neither the run nor the "
    "classifier. Of several seeds the patients' probabilities are averaged. Intervals: score intervals over the patients, none "
    f"for fewer than {FEWEST}."
)
DIFFERENCE_NOTE = (
    "Differences are of accuracy, over the same patients, with Bonett and Price's (2012) interval; p is of McNemar's exact "
    "test (1947), corrected by Holm's rule over the runs.",
)


@dataclass(kw_only=True)
class ClassificationTest:
    """A test of the patients' classes by all runs that train on some records, on the test patients of these."""

    records: str
    """Name of the records in the study."""
    attribute: str
    """Attribute of the patients, such as subtype."""
    classes: dict[str, list[str]] = field(default_factory=dict)
    """Name of each class and the attribute's values that mean it; empty: its values, sorted."""
    features: list[Literal["mean", "max", "tumour", "shape"]] = field(default_factory=lambda: ["mean", "max", "tumour"])
    """Poolings of the features, as of classify_features."""


@dataclass(frozen=True)
class OpenClassification:
    """A classification test whose records have been found.

    Attributes:
        settings: of the test.
        records: opened.
    """

    settings: ClassificationTest
    records: Records

    @property
    def name(self) -> str:
        """Name of its folders."""
        return f"{self.settings.records}_{self.settings.attribute}"


@dataclass(frozen=True)
class ClassRow:
    """Scores of a run in a classification test.

    Attributes:
        test, run: names.
        seeds: how many.
        patients: class -> number.
        scores: accuracy, F1 and AUC by name: value, low and high.
        difference: of accuracy, reference minus this run: value, low and high; None for the reference itself, or without one.
        p: of the difference; `p_holm` is corrected.
    """

    test: str
    run: str
    seeds: int
    patients: dict[str, int]
    scores: dict[str, dict[str, float | None]]
    difference: tuple[float, float | None, float | None] | None = None
    p: float | None = None
    p_holm: float | None = None


def open_classifications(values: Sequence[dict[str, Any]], records: StudyRecords) -> list[OpenClassification]:
    """Open the classification tests of a study: those of its tests that name an attribute.

    Raises:
        UserError: an unknown key or name of records, or test patients without the attribute.
    """
    opened = []
    for entry in values:
        if "attribute" not in entry:
            continue
        settings: ClassificationTest = parse_entry(ClassificationTest, entry, "--tests")
        if settings.records not in records.folders:
            raise UserError(f"--tests: records: expected one of {', '.join(records.folders)}; received {settings.records}")
        folder = records.folders[settings.records]
        if not any(folder.cases[case].attributes.get(settings.attribute) for case in folder.subset("test")):
            known = ", ".join(sorted({name for case in folder.subset("test") for name in folder.cases[case].attributes}))
            wanted = f"expected test patients with a value of {settings.attribute}"
            raise UserError(f"--tests: {settings.records}: {wanted}; found none; they have {known or 'no attributes'}")
        opened.append(OpenClassification(settings, folder))
    return opened


def run_classification(study: Path, run: PlannedRun, test: OpenClassification) -> str | None:
    """Classify the patients by a trained run, as far as that is not done for its present weights.

    Returns:
        The reason of a failure, if it failed.
    """
    out, settings, log = scores_folder(study, run, test), test.settings, run.training.log
    if current_scores(out, run, settings) is not None:
        return None
    (out / SCORES).unlink(missing_ok=True)  # of other weights or settings
    print(f"  classifying {settings.attribute} of {settings.records}", flush=True)
    words = ["--runs", run.folder, "--records", test.records.path, "--out", out, "--attribute", settings.attribute]
    words += ["--division", "held_out", "--features", *settings.features]
    words += ["--classes", json.dumps(settings.classes)] if settings.classes else []
    words += ["--head", settings.records] if len(run.config.heads) > 1 else []
    status = runner.call("evaluation.classify_features", words, log)
    return runner.failure("classification", status, log) if status else None


def scores_folder(study: Path, run: PlannedRun, test: OpenClassification) -> Path:
    """Folder of a run's scores in a classification test."""
    return study / "classification" / run.folder.name / test.name


def current_scores(folder: Path, run: PlannedRun, settings: ClassificationTest) -> dict[str, Any] | None:
    """Classification scores of a run's present weights, by equal settings; None where a folder has none."""
    if not (folder / SCORES).is_file() or not any(run.folder.glob("*.weights.h5")):
        return None
    scores = read_classification_facts(folder / SCORES)
    wanted = {name: getattr(settings, name) for name in ("attribute", "classes", "features")}
    is_alike = all(scores.get("settings", {}).get(name) == value for name, value in wanted.items())
    weights = checksum(Run(run.folder).weights)
    return scores if is_alike and all(fold["weights"] == weights for fold in scores.get("folds", [])) else None


def class_rows(study: Path, planned: Sequence[PlannedRun], test: OpenClassification, reference: str | None) -> list[ClassRow]:
    """Rows of a classification test, one for each run that is scored, in the order of the study's file."""
    found: dict[str, list[SlicePredictions]] = {}
    classes: list[str] = []
    for run in planned:
        folder = scores_folder(study, run, test)
        scores = current_scores(folder, run, test.settings) if test.settings.records in run.records else None
        if scores is not None:
            classes = scores["classes"]
            found.setdefault(run.name, []).append(read_predictions(folder / "per_patient.csv", classes))
    averaged = {name: _averaged(each) for name, each in found.items()}
    rows = [_row(test, name, len(found[name]), each, classes, averaged.get(reference or "")) for name, each in averaged.items()]
    corrected = holm([row.p for row in rows])
    return [ClassRow(**vars(row) | {"p_holm": p}) for row, p in zip(rows, corrected, strict=True)]


def read_predictions(path: Path, classes: Sequence[str]) -> SlicePredictions:
    """Read the patients' probabilities that `classify_features` has written; an entry is a patient."""
    several = [f"probability_{name.replace(' ', '_')}" for name in classes]
    columns = several if len(classes) > 2 else ["probability"]
    kinds: dict[str, Kind] = {"patient": Text(least=1), "truth": Text(tuple(classes)), **dict.fromkeys(columns, Number(0, 1))}
    rows = read_table(path, "scores of patients", kinds, advice=AGAIN)
    if not rows:
        raise UserError(f"{path}: expected a row per patient; received none; {AGAIN}")
    names = [row["patient"] for row in rows]
    truth = np.array([classes.index(row["truth"]) for row in rows], np.int64)
    probabilities = np.array([[row[column] for column in columns] for row in rows], float).reshape(len(rows), len(columns))
    if len(columns) == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    return SlicePredictions(names, names, np.zeros(len(names), np.int64), truth, probabilities)


def _averaged(seeds: Sequence[SlicePredictions]) -> SlicePredictions:
    """Predictions of equal patients with the means of their probabilities."""
    first = seeds[0]
    probabilities = np.mean([each.probabilities for each in seeds], axis=0)
    return SlicePredictions(first.cases, first.patients, first.slices, first.truth, probabilities)


def _row(
    test: OpenClassification,
    name: str,
    seeds: int,
    predictions: SlicePredictions,
    classes: list[str],
    reference: SlicePredictions | None,
) -> ClassRow:
    """Scores of a run, and the difference of its accuracy from that of the reference."""
    scores = summary(predictions, head=name, classes=classes, split="patient", weights="", levels=("patient",))
    level = scores["level"]["patient"]
    numbers = Counter(predictions.truth.tolist())
    patients = {each: numbers[index] for index, each in enumerate(classes)}
    row = ClassRow(test.name, name, seeds, patients, {key: level[key] for key in HEADINGS})
    if reference is None or reference is predictions:
        return row
    right, other = (predicted_classes(each.probabilities) == each.truth for each in (reference, predictions))
    return ClassRow(**vars(row) | {"difference": accuracy_difference(right, other), "p": accuracy_test(right, other)})


def class_heading(test: OpenClassification, rows: Sequence[ClassRow]) -> str:
    """Heading of the table of a classification test."""
    patients = ", ".join(f"{number} {name}" for name, number in rows[0].patients.items())
    return f"## {test.settings.records}: {test.settings.attribute} of the test patients ({patients})"


def class_columns(rows: Sequence[ClassRow], reference: str | None) -> list[Column]:
    """Columns of rows: texts in Markdown, numbers in CSV."""
    columns = [
        Column("test", "", [row.test for row in rows], csv_only=True),
        Column("run", "", [row.run for row in rows]),
        Column("seeds", "d", [row.seeds for row in rows]),
        Column("patients", "d", [sum(row.patients.values()) for row in rows], csv_only=True),
    ]
    for key, heading in HEADINGS.items():
        values = [row.scores[key] for row in rows]
        texts = [_text(each["value"], each["low"], each["high"]) for each in values]
        columns.append(Column(f"{heading.split(' ')[0]} ↑ [95 %]", "", texts, markdown_only=True))
        columns += [
            Column(f"{key}{suffix}", "", [each[part] for each in values], csv_only=True)
            for suffix, part in (("", "value"), ("_low_95", "low"), ("_high_95", "high"))
        ]
    differences = [row.difference for row in rows]
    if any(each is not None for each in differences):
        signed = [None if each is None else _text(*each, signed=True) for each in differences]
        columns += [
            Column(f"accuracy of {reference} minus this run [95 %]", "", signed, markdown_only=True),
            Column("p", "", [None if row.p_holm is None else f"{row.p_holm:.3f}" for row in rows], markdown_only=True),
        ]
    for place, key in enumerate(("difference", "difference_low_95", "difference_high_95")):
        columns.append(Column(key, "", [None if each is None else each[place] for each in differences], csv_only=True))
    columns.append(Column("p", "", [row.p for row in rows], csv_only=True))
    columns.append(Column("p_holm", "", [row.p_holm for row in rows], csv_only=True))
    return columns


def _text(value: float | None, low: float | None, high: float | None, signed: bool = False) -> str:
    """A score with its interval, as it is printed."""
    if value is None:
        return "none"
    form = "+.3f" if signed else ".3f"
    return f"{value:{form}}" + ("" if low is None or high is None else f" [{low:{form}}, {high:{form}}]")
