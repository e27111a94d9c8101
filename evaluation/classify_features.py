"""Command: classify patients by features of a segmentation network that did not see the test patients."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError, expect_number
from common.files import checksum, lock, read_lines, refuse_inside, remove_unfinished
from common.metrics.classification_intervals import CROSS_VALIDATED
from common.tables import aligned, counted
from data_prep.records.folder import Records
from data_prep.sources import SourceConfig
from data_prep.sources.checks import warn_of_kinds
from evaluation.features.cases import LabelledCases, from_records, from_source
from evaluation.features.classifier import ClassifierConfig, Samples, fit
from evaluation.features.extraction import FEATURES, FeatureExtractor
from evaluation.features.unseen import (
    Division,
    Fold,
    SeenPatients,
    TrainingPatients,
    held_out_fold,
    make_folds,
    training_patients,
)
from evaluation.figures.classification import draw_classification
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.provenance import short_path
from evaluation.scores.classification import SlicePredictions, format_table, summary, write_classification_scores
from evaluation.scores.facts import read_classification_facts
from training.data.division import cases_lacking_channels, lacked_channels
from training.run import Run, open_runs

AGGREGATION = "mean over the patient's cases of each class's probability"
STORED = "features"  # folder of the stored features
PLACES = ("runs", "records", "source", "cases")  # options that are paths, whose content may change
METHOD = (
    "standardisation and logistic regression (L2), fitted on the training patients of each fold; C by nested folds of these"
)


@dataclass(kw_only=True)
class ClassifyFeaturesConfig(SourceConfig, ConfigWithTrust):
    """Classify patients, such as by subtype, by a linear classifier on features of a segmentation network.

    Features are pooled from the network's bottleneck over whole volumes. No test patient has trained the network that its
    features come from: the runs of a cross-validation have one for each patient. A call that was stopped is resumed by the same
    command.
    """

    runs: list[Path]
    """The folder of a cross-validation, whose folds become those of the classifier; or runs, each a fold; or one run that none
    of the patients trained."""
    out: Path
    """Folder for classification_scores.json, tables, figures, and features/, the features of each case and run."""
    records: Path | None = None
    """Records of the patients; all cases with the attribute are taken."""
    source: Path | None = None
    """Scans of the patients, instead of records; they need no annotation."""
    cases: Path | None = None
    """Text file with the ids of the cases to take, one a line; default: all."""
    attribute: str = "subtype"
    """Attribute of the patients that is predicted, as the records or the source name it."""
    classes: dict[str, list[str]] = field(default_factory=dict)
    """Name of each class and the attribute's values that mean it, such as {LGG: [LGG], HGG: [HGG]}; the last class is the
    positive one. Empty: the values of the cases, sorted."""
    features: list[Literal["mean", "max", "tumour", "shape"]] = field(default_factory=lambda: ["mean", "max", "tumour"])
    """Poolings of the bottleneck's features: mean, max, and tumour (mean weighted by the predicted tumour probability); shape:
    log(1 + ml), number of components and extents in mm of the predicted tumour."""
    layer: str = ""
    """Layer of the network whose features are pooled; default: the bottleneck. In a network of your own that is the last layer
    with the coarsest grid."""
    head: str | None = None
    """Segmentation head that weighs features and makes the mask; null: the only one."""
    division: Division = "folds"
    """folds: cross-validation, every patient is tested once; held_out: with one run and --records, the records' test patients
    are tested by a classifier of all others, whom the network may have seen."""
    folds: int | None = None
    """Folds by patient with one run, stratified by class; default: those of records that did not train the run, else 5."""
    inner_folds: int = 4
    """Folds of the training patients in which C is chosen; fewer where a class has fewer patients."""
    c: list[float] = field(default_factory=lambda: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0])
    """Values of C, the inverse strength of the penalty, of which each fold takes the one with the lowest cross-entropy."""
    balance: bool = True
    """Weigh classes alike, whatever their numbers of patients."""
    seen_patients: SeenPatients = "refuse"
    """Patients that trained every run: refuse them, or warn and score them, which gives scores that are too good."""
    seed: int = 0
    """Seed of folds that are dealt out here."""
    batch_size: int | None = None
    """Slices or patches at once, which changes speed and memory alone; default: 8 slices, or one patch."""
    overlap: float = 0.5
    """Share of their sides that neighbouring patches of 3D networks share."""


def main(config: ClassifyFeaturesConfig) -> None:
    """Extract features, classify every patient, and print the scores."""
    inference = _checked(config)
    runs = open_runs(config.runs)
    if config.division == "held_out" and len(runs) != 1:
        raise UserError(f"--division held_out: expected one run; received {len(runs)}")
    for run in runs:
        run.config.model.check()  # networks that are not trusted are refused before scans are read
    heads = [_head(run, config.head) for run in runs]
    records = None if config.records is None else Records(config.records)
    labelled = _labelled(config, runs, records)
    counts = ", ".join(f"{number} {name}" for name, number in labelled.counts().items())
    print(
        f"{config.attribute}: {counted(len(labelled.patients), 'patient')} ({counts}), {counted(len(labelled.cases), 'case')}"
    )
    trainings = [training_patients(run) for run in runs]
    if config.division == "held_out" and records is not None:
        folds = held_out_fold(labelled, trainings[0], records, config.seen_patients)
    else:
        folds = make_folds(labelled, trainings, config.folds, config.seed, config.seen_patients, records)
    _warn(folds, trainings)
    kinds = tuple(dict.fromkeys(config.features))
    stored = config.out / STORED
    extractors = [
        FeatureExtractor(run, head, config.layer, inference, stored, kinds) for run, head in zip(runs, heads, strict=True)
    ]
    with lock(config.out, "" if (config.out / STORED).is_dir() else "the classification"):
        remove_unfinished(config.out)
        _refuse_other_settings(config)
        samples, layers = _samples(extractors, labelled, folds)
        warn_of_kinds(list(dict.fromkeys(labelled.warnings)), "glioskull check")
        predictions, fitted = _classify(config, labelled, folds, samples)
        names = ", ".join(dict.fromkeys(layers.values()))
        scores = summary(
            predictions,
            head=config.attribute,
            classes=list(labelled.classes),
            split="patient",
            weights=_described(kinds, names, len(samples)),
            levels=("patient",),
            aggregation=AGGREGATION,
            inflation=1.0 if config.division == "held_out" else CROSS_VALIDATED,
        )
        scores |= _facts(config, labelled, trainings, folds, fitted)
        scores["features"] |= {"layers": list(dict.fromkeys(layers.values())), "number": samples[folds[0].run].shape[1]}
        files = write_classification_scores(config.out, predictions, scores)
        files += draw_classification(config.out, predictions, scores)
    print("\n".join([*_fold_table(runs, folds, fitted), ""]))
    print(format_table(scores))
    print(f"scores: {config.out} ({', '.join(file.name for file in files)})")


def _checked(config: ClassifyFeaturesConfig) -> InferenceConfig:
    """Options of inference; refuses settings that cannot work before anything is read.

    Raises:
        UserError: names the option.
    """
    if (config.records is None) == (config.source is None):
        received = "neither" if config.records is None else "both"
        raise UserError(f"expected either --records R or --source DIR; received {received}")
    if config.source is not None:
        refuse_inside(config.out, config.source)
    if not config.features:
        raise UserError(f"--features: expected some of {', '.join(FEATURES)}; received none")
    if not config.c or min(config.c) <= 0:
        raise UserError(f"--c: expected numbers above 0; received {config.c}")
    if config.division == "held_out" and (config.records is None or config.folds is not None):
        raise UserError("--division held_out: expected --records, whose test patients are tested, and no --folds")
    expect_number("folds", config.folds, 2)
    expect_number("inner_folds", config.inner_folds, 2)
    expect_number("seed", config.seed, 0)
    return InferenceConfig(batch_size=config.batch_size, overlap=config.overlap)


def _head(run: Run, wanted: str | None) -> str:
    """Name of a run's segmentation head; refuses a run without weights too.

    Raises:
        UserError: none, or several of which none was chosen.
    """
    heads = [name for name, each in run.heads.items() if each.per_voxel]
    if not heads:
        raise UserError(f"{run.path}: expected a run with a segmentation head; received heads {', '.join(run.heads)}")
    if (len(heads) > 1 and wanted is None) or wanted not in (None, *heads):
        raise UserError(f"--head: {run.path}: expected one of {', '.join(heads)}; received {wanted or 'none'}")
    _ = run.weights
    return wanted or heads[0]


def _labelled(config: ClassifyFeaturesConfig, runs: Sequence[Run], records: Records | None) -> LabelledCases:
    """Cases with a known class, of the records or the source; those that lack a channel of a run are left out."""
    wanted = None if config.cases is None else read_lines(config.cases, "list of cases (a text file, one id a line)")
    if records is not None:
        lacking: dict[str, list[str]] = {}
        for run in runs:
            lacking |= cases_lacking_channels(run.open_records(records.path), run.config)
        if lacking:
            names = lacked_channels(lacking)
            print(f"left out: {counted(len(lacking), 'case')} of {records.path} that lack {names}, which a run needs")
            wanted = [case for case in (records.cases if wanted is None else wanted) if case not in lacking]
        return from_records(records, config.attribute, config.classes, wanted)
    root = Path(str(config.source))
    return from_source(root, config, config.attribute, config.classes, runs, wanted)


def _warn(folds: Sequence[Fold], trainings: Sequence[TrainingPatients]) -> None:
    """Warn of test patients that a run has seen, and of runs whose training patients are not known."""
    seen = [name for fold in folds for name in fold.seen]
    if seen:
        number, others = counted(len(seen), "test patient"), f" and {len(seen) - 3} more" if len(seen) > 3 else ""
        print(
            f"warning: {number} trained the run of their features ({', '.join(seen[:3])}{others}): scores will be too good",
            file=sys.stderr,
        )
    for each in trainings:
        if each.unknown:
            print(f"warning: {each.unknown}: it may have seen test patients", file=sys.stderr)


def _described(kinds: Sequence[str], layers: str, runs: int) -> str:
    """Features in words, such as "mean, max of bottom_relu2, shape of the predicted tumour, 2 runs"."""
    pooled = [kind for kind in kinds if kind != "shape"]
    parts = [f"{', '.join(pooled)} of {layers}"] if pooled else []
    parts += ["shape of the predicted tumour"] if "shape" in kinds else []
    return ", ".join([*parts, counted(runs, "run")])


def _refuse_other_settings(config: ClassifyFeaturesConfig) -> None:
    """Refuse a folder with the scores of a call with other settings, which would be overwritten.

    Raises:
        UserError: names the setting.
    """
    file = config.out / "classification_scores.json"
    stored = read_classification_facts(file).get("settings", {}) if file.is_file() else {}
    for name, value in cli.as_dict(config).items():
        if name not in ("out", "batch_size", *PLACES) and name in stored and stored[name] != value:
            raise UserError(f"--out {config.out}: holds scores made with another --{name}; choose another folder")


def _samples(
    extractors: Sequence[FeatureExtractor], labelled: LabelledCases, folds: Sequence[Fold]
) -> tuple[dict[int, np.ndarray], dict[int, str]]:
    """Features (cases, F) of all cases by each run that a fold takes, and the layer of each."""
    samples, layers = {}, {}
    for run in dict.fromkeys(fold.run for fold in folds):
        extractor = extractors[run]
        samples[run] = extractor.extract(labelled.cases, f"features of {short_path(str(extractor.run.path))}")
        layers[run] = extractor.layer_of(labelled.cases[0])
    return samples, layers


def _classify(
    config: ClassifyFeaturesConfig, labelled: LabelledCases, folds: Sequence[Fold], samples: dict[int, np.ndarray]
) -> tuple[SlicePredictions, list[dict[str, Any]]]:
    """Predictions of the cases that are tested in a fold, and of each fold how its classifier was fitted."""
    settings = ClassifierConfig(tuple(config.c), config.inner_folds, config.balance, config.seed)
    targets = np.array([case.target for case in labelled.cases])
    patients = [case.patient for case in labelled.cases]
    probabilities = np.zeros((len(targets), len(labelled.classes)))
    fitted = []
    for fold in folds:
        features = samples[fold.run]
        found = fit(Samples(features, targets, patients).of(fold.train), settings)
        rows = [row for row, patient in enumerate(patients) if patient in fold.test]
        probabilities[rows] = found.pipeline.predict_proba(features[rows])
        fitted.append({"c": found.c, "inner_folds": found.inner_folds, "cross_entropy": found.losses})
    tested = {patient for fold in folds for patient in fold.test}
    rows = [row for row, patient in enumerate(patients) if patient in tested]
    ids, names = ([values[row] for row in rows] for values in ([case.id for case in labelled.cases], patients))
    return SlicePredictions(ids, names, np.zeros(len(rows), np.int64), targets[rows], probabilities[rows]), fitted


def _facts(
    config: ClassifyFeaturesConfig,
    labelled: LabelledCases,
    trainings: Sequence[TrainingPatients],
    folds: Sequence[Fold],
    fitted: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Further content of classification_scores.json: settings, and the proof that test patients were not seen."""
    used = dict.fromkeys(fold.run for fold in folds)
    return {
        "method": METHOD,
        "settings": cli.as_dict(config),
        "patients": labelled.counts(),
        "features": {"kinds": list(config.features)},
        "trained_patients": sorted(name for fold in folds for name in fold.seen),
        "training_unknown": [trainings[run].unknown for run in used if trainings[run].unknown],
        "runs": [trainings[run].facts() for run in used],
        "folds": [
            {
                "run": str(trainings[fold.run].run.path.resolve()),
                "weights": checksum(trainings[fold.run].run.weights),
                "test": fold.test,
                "train": fold.train,
                "test_patients_that_trained_the_run": fold.seen,
            }
            | how
            for fold, how in zip(folds, fitted, strict=True)
        ],
    }


def _fold_table(runs: Sequence[Run], folds: Sequence[Fold], fitted: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the folds: run, patients, the chosen C, and how many test patients trained the run."""
    rows = [["fold", "run", "train", "test", "of them seen by the run", "C"]]
    for number, (fold, how) in enumerate(zip(folds, fitted, strict=True)):
        run = short_path(str(runs[fold.run].path))
        rows.append([str(number), run, str(len(fold.train)), str(len(fold.test)), str(len(fold.seen)), f"{how['c']:g}"])
    proof = (
        []
        if any(fold.seen for fold in folds)
        else ["No test patient has trained the run of its features (runs and folds: scores)."]
    )
    return [*aligned(rows), *proof]


if __name__ == "__main__":
    cli.run(main, ClassifyFeaturesConfig)
