"""Command: train a run for each fold of records, predict each fold's patients by the run that has not seen them, score all."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from common import cli
from common.errors import UserError
from common.files import lock, read_json, read_yaml, write_json, write_text, write_yaml
from common.metrics.catalogue import METRICS
from common.processes import run_command
from data_prep.records.folder import Records
from evaluation.inference.ensemble import Showing
from evaluation.scores.folder import read_patient_scores, read_scores
from evaluation.scores.patients import MANIFEST
from training.run import Run

TOGETHER, SCORES = "predictions", "scores"
SETTINGS = "cross_validation.yaml"


@dataclass(kw_only=True)
class CrossValidateConfig:
    """Cross-validation: every patient is predicted by a run that was trained without this patient.

    A call that was stopped goes on where it was: finished folds are kept, a half-trained one is resumed.
    """

    records: Path
    """Records with folds (make_records --split.folds K)."""
    train: Path
    """Config of the training, such as configs/lower_grade_glioma/train.yaml."""
    out: Path
    """Folder for the runs (fold0, fold1, ...), the predictions of all patients and their scores."""
    command: Literal["train", "classify"] = "train"
    """What the config is for: training.train or training.classify."""
    source: Path | None = None
    """The scans that the records were built from; default: where they stood then."""
    options: list[str] = field(default_factory=list)
    """Settings of the training that differ from the config, such as epochs=10 input.batch_size=8."""
    flips: list[str] = field(default_factory=list)
    """Axes that are mirrored in prediction, as in evaluation.predict."""
    postprocess: Path | None = None
    """Post-processing, as in evaluation.predict."""


def main(config: CrossValidateConfig) -> None:
    """Train, predict and score every fold, and say where the results are."""
    records = Records(config.records)
    if not records.folds:
        raise UserError(f"{config.records}: expected records with folds; build them by make_records --split.folds 4")
    if not config.train.is_file():
        raise UserError(f"{config.train}: config of the training not found")
    Showing(flips=tuple(config.flips))
    options = _options(config.options)
    with lock(config.out):
        _refuse_changes(config)
        for fold in range(len(records.folds)):
            print(f"fold {fold + 1} of {len(records.folds)}", flush=True)
            _train(config, fold, options)
        if config.command == "train":
            _predict_and_score(config, records)
        else:
            _score_categories(config, records)


def _refuse_changes(config: CrossValidateConfig) -> None:
    """Refuse to go on with other settings than those that the folds were begun with.

    Raises:
        UserError: says which setting changed.
    """
    file = config.out / SETTINGS
    settings = cli.as_dict(replace(config, records=config.records.resolve())) | {"train": read_yaml(config.train, "config")}
    if not file.is_file():
        write_yaml(file, settings)
        return
    before = read_yaml(file, "settings of the cross-validation")
    changed = [name for name in settings if name != "out" and before.get(name) != settings[name]]
    if changed:
        raise UserError(f"{config.out}: was begun with another --{changed[0]}; choose another --out")


def _options(given: list[str]) -> list[str]:
    """`epochs=10` as the training command takes it."""
    wrong = [word for word in given if "=" not in word or word.startswith("-")]
    if wrong:
        raise UserError(f"--options: expected settings such as epochs=10; received {wrong[0]}")
    return [f"--{word}" for word in given]


def _train(config: CrossValidateConfig, fold: int, options: list[str]) -> None:
    """Train a fold's run, or what is left of it."""
    folder, command = config.out / f"fold{fold}", f"training.{config.command}"
    if (folder / "run.json").is_file():
        if Run(folder).facts.get("ended") is None:
            _call(command, "--resume", folder)
    else:
        _start(config, fold, options)
    if Run(folder).facts["ended"] == "loss":
        raise UserError(f"{folder}: its loss is no longer a number; start anew with a lower --optimizer.learning_rate")


def _start(config: CrossValidateConfig, fold: int, options: list[str]) -> None:
    folder, command = config.out / f"fold{fold}", f"training.{config.command}"
    _call(command, "--config", config.train, "--records", config.records, "--fold", fold, "--out", folder, *options)


def _predict_and_score(config: CrossValidateConfig, records: Records) -> None:
    """Each fold's validation patients by its run, on their own grid; then all of them in one table."""
    source = config.source or Path(records.source["path"])
    together = config.out / TOGETHER
    for fold in range(len(records.folds)):
        cases = config.out / f"fold{fold}.txt"
        write_text(cases, "".join(f"{case}\n" for case in records.subset("validation", fold)))
        folder = config.out / f"fold{fold}" / TOGETHER
        if not (folder / MANIFEST).is_file():
            more = ["--flips", *config.flips] if config.flips else []
            more += ["--postprocess", str(config.postprocess)] if config.postprocess else []
            run = config.out / f"fold{fold}"
            _call("evaluation.predict", "--runs", run, "--source", source, "--cases", cases, "--out", folder, *more)
        shutil.copytree(folder, together, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, ".lock", SCORES))
    _commit(config, records, together)
    _call("evaluation.score", "--predictions", together, "--source", source)
    _draw(config, records, together)


def _draw(config: CrossValidateConfig, records: Records, together: Path) -> None:
    """A box per fold, every patient, and the pictures of the three worst; of the Dice of the first region (or class)."""
    from evaluation.figures.patients import draw_boxes, draw_per_patient, worst_patients

    folder = config.out / "figures"
    scores, metric = read_patient_scores(read_scores(together)), METRICS["dice"]
    dice = scores.by_patient(scores.structures[0], metric.name)
    patients = [
        {records.cases[case].patient for case in records.subset("validation", fold)} for fold in range(len(records.folds))
    ]
    boxes = {f"fold {fold}": {name: dice[name] for name in sorted(group)} for fold, group in enumerate(patients)}
    structure = f"{scores.structures[0].title}, whole volume"
    draw_boxes(folder / "folds", boxes | {"all folds": dice}, metric, structure)
    draw_per_patient(folder / "patients", dice, metric, structure)
    worst = worst_patients(dice, metric)
    for place, patient in enumerate(worst):
        for case in (case for case, facts in records.cases.items() if facts.patient == patient):
            shutil.copyfile(together / "overlays" / f"{case}.png", folder / f"worst_{place + 1}_{case}.png")
    print(f"figures: {folder} (folds, patients, and the worst three: {', '.join(worst)})")


def _commit(config: CrossValidateConfig, records: Records, together: Path) -> None:
    """The manifest of all folds' predictions: that of the first, with the runs and cases of all."""
    manifests: list[dict[str, Any]] = [
        read_json(config.out / f"fold{fold}" / TOGETHER / MANIFEST, "predictions") for fold in range(len(records.folds))
    ]
    whole = manifests[0] | {
        "runs": [run for manifest in manifests for run in manifest["runs"]],
        "weights": [name for manifest in manifests for name in manifest["weights"]],
        "cases": sorted(case for manifest in manifests for case in manifest["cases"]),
        "cross_validation": f"{len(manifests)} folds by patient; each case by the run that was trained without its patient",
    }
    write_json(together / MANIFEST, whole)


def _score_categories(config: CrossValidateConfig, records: Records) -> None:
    """Each fold's validation slices by its run, all in one table."""
    from evaluation.scores.classification_run import report, score_run, together

    parts = [score_run(config.out / f"fold{fold}", config.records, "validation", 16) for fold in range(len(records.folds))]
    report(config.out / SCORES, together(parts))


def _call(command: str, *arguments: object) -> None:
    """Run one of our commands; its mistakes are told by itself.

    Raises:
        UserError: it failed.
    """
    status = run_command(command, [str(argument) for argument in arguments])
    if status:
        raise UserError(f"-m {command}: failed with status {status}; the same command goes on from here")


if __name__ == "__main__":
    cli.run(main, CrossValidateConfig)
