"""Command: cross-validation over the folds of records; every patient is predicted by the run that was trained without it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from common import cli
from common.config_bases import ConfigWithTrust
from common.configs import find_config
from common.errors import Problems, UserError
from common.files import lock, read_yaml, remove_unfinished, write_text, write_yaml
from common.manifests import CONTENT, MapOf, read_manifest
from common.trust import trust_own
from data_prep.records.folder import Records
from evaluation.experiments import runner
from evaluation.heads import evaluators_of
from evaluation.heads.base import FIGURES, Folds
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.postprocess import load_file
from evaluation.inference.predictions import SCORES, is_finished, merge_predictions
from training.config import ClassifyConfig, TrainConfig, TrainingConfig
from training.resume import resume_options
from training.run import Run

PREDICTIONS = "predictions"
SETTINGS = "cross_validation.yaml"
FINGERPRINT = "fingerprint"  # key of SETTINGS, of the records' content
TRAININGS: dict[str, type[TrainingConfig]] = {"train": TrainConfig, "classify": ClassifyConfig}
GIVEN = ("config", "records", "fold", "out", "resume", "extend")  # options that the cross-validation gives by itself


@dataclass(kw_only=True)
class CrossValidateConfig(ConfigWithTrust):
    """Cross-validation: every patient is predicted by a run that was trained without this patient.

    A call that was stopped is resumed by the same command: finished folds are kept, a half-trained one is resumed.
    """

    records: Path
    """Records with folds (make_records --split.folds K)."""
    train: Path
    """Config of the training, by its path or the name of a shipped one, such as lower_grade_glioma/train."""
    out: Path
    """Folder for the runs (fold0, fold1, ...), the predictions of all patients and their scores."""
    command: Literal["train", "classify"] = "train"
    """Command of the config: glioskull train or glioskull classify."""
    source: Path | None = None
    """The scans that the records were built from; default: their place at that time."""
    options: list[str] = field(default_factory=list)
    """Settings of the training that differ from the config, such as epochs=10 input.batch_size=8."""
    flips: list[str] = field(default_factory=list)
    """Axes that are mirrored in prediction, as in glioskull predict."""
    postprocess: Path | None = None
    """Post-processing, as in glioskull predict."""
    ids: bool = True
    """Name patients in the figures, and copy the pictures of the worst; false: figures without ids."""


def main(config: CrossValidateConfig) -> None:
    """Train, predict and score every fold, and print the place of the results."""
    records = Records(config.records)
    count = len(records.folds)
    if not count:
        raise UserError(f"{config.records}: expected records with folds; build them by make_records --split.folds 4")
    InferenceConfig(flips=tuple(config.flips))
    if config.postprocess is not None:
        load_file(config.postprocess).check(records.schema)
    config = replace(config, train=find_config(config.train, "config of the training"))
    options, settings = _checked_options(config)
    with lock(config.out, "" if (config.out / SETTINGS).is_file() else "a cross-validation", [config.train.name]):
        remove_unfinished(config.out, deep=False)
        for name in (PREDICTIONS, SCORES, FIGURES):  # a training removes its own
            remove_unfinished(config.out / name)
        trainings = [_training(config, fold, options, settings) for fold in range(count)]
        _refuse_changes(config, records, trainings)
        _train(trainings)
        folds = Folds(
            runs=[Run(training.folder) for training in trainings],
            records=records,
            source=config.source or Path(records.source["path"]),
            out=config.out,
            predictions=config.out / PREDICTIONS,
            call=_call,
            ids=config.ids,
        )
        evaluators = evaluators_of(folds.runs)
        if any(evaluator.writes_voxels for evaluator in evaluators):
            _predict(config, folds)
        for evaluator in evaluators:
            evaluator.score_folds(folds)


def _checked_options(config: CrossValidateConfig) -> tuple[list[str], TrainingConfig]:
    """Options as the training command takes them, `--epochs=10`, and the settings of the trainings.

    What the training would refuse is refused before anything is made.

    Raises:
        UserError: an option that the training does not have, or settings that do not go together.
    """
    wrong = [word for word in config.options if "=" not in word or word.startswith("-")]
    if wrong:
        raise UserError(f"--options: expected settings such as epochs=10; received {wrong[0]}")
    given = [word for word in config.options if word.partition("=")[0] in GIVEN]
    if given:
        raise UserError(f"--options: {given[0]}: is given by the cross-validation itself; leave it out")
    options = [f"--{word}" for word in config.options]
    arguments = ["--config", str(config.train), *options]
    training: TrainingConfig = cli.parse(TRAININGS[config.command], arguments, cli.command_name(f"training.{config.command}"))
    trust_own(training.model.name, config.train)
    training.check()
    return options, training


def _training(config: CrossValidateConfig, fold: int, options: list[str], settings: TrainingConfig) -> runner.Training:
    """Training of a fold, its output on the terminal."""
    arguments = ["--config", config.train, "--records", config.records, "--fold", fold, *options]
    resume = ["--records", config.records, *resume_options(replace(settings, records=None))]
    return runner.Training(config.out / f"fold{fold}", f"training.{config.command}", arguments, resume=resume)


def _train(trainings: Sequence[runner.Training]) -> None:
    """Train every fold; the others are trained too where one diverges.

    Raises:
        UserError: a training failed.
        Problems: a line per fold that diverged.
    """
    problems = []
    for fold, training in enumerate(trainings):
        print(f"fold {fold} ({fold + 1} of {len(trainings)})", flush=True)
        problem = runner.training_failure(training, runner.train(training))
        if problem is not None and runner.divergence_of(training) is None:
            raise UserError(f"fold {fold}: {problem}; the same command goes on from here")
        problems += [] if problem is None else [f"fold {fold}: {problem}"]
    if problems:
        raise Problems(problems, "the other folds are trained; the same command goes on from here")


def _refuse_changes(config: CrossValidateConfig, records: Records, trainings: list[runner.Training]) -> None:
    """Store the settings; refuse to go on with others than those that the folds were begun with.

    Records may have moved: their content is compared.

    Raises:
        UserError: names the setting that changed.
    """
    file = config.out / SETTINGS
    settings = cli.as_dict(replace(config, records=config.records.resolve()))
    settings |= {"train": read_yaml(config.train, "config"), FINGERPRINT: records.fingerprint}
    begun = any((training.folder / "run.json").is_file() for training in trainings)
    if not begun or not file.is_file():
        write_yaml(file, settings)
        return
    before = read_manifest(file, "settings of the cross-validation", MapOf(CONTENT), advice="choose another --out")
    free = ("out", "ids", "records" if FINGERPRINT in before else FINGERPRINT)
    changed = [name for name in settings if name not in free and before.get(name) != settings[name]]
    if changed:
        option = "records" if changed[0] == FINGERPRINT else changed[0]
        raise UserError(f"{config.out}: was begun with another --{option}; choose another --out")


def _predict(config: CrossValidateConfig, folds: Folds) -> None:
    """Predict each fold's validation patients by its run, on their own grid, and merge the predictions of all folds."""
    options: list[object] = ["--flips", *config.flips] if config.flips else []
    options += ["--postprocess", config.postprocess] if config.postprocess else []
    folders = []
    for fold, run in enumerate(folds.runs):
        cases = config.out / f"fold{fold}.txt"
        write_text(cases, "".join(f"{case}\n" for case in folds.records.subset("validation", fold)))
        folder = run.path / PREDICTIONS
        folders.append(folder)
        if not is_finished(folder):
            places = ("--runs", run.path, "--source", folds.source, "--cases", cases, "--out", folder)
            _call("evaluation.predict", *places, *options)
    merge_predictions(folders, folds.predictions)


def _call(command: str, *arguments: object) -> None:
    """Run a command of the toolkit in a child process; it prints its own errors.

    Raises:
        UserError: it failed.
    """
    status = runner.call(command, arguments)
    if status:
        raise UserError(f"-m {command}: failed with status {status}; the same command goes on from here")


if __name__ == "__main__":
    cli.run(main, CrossValidateConfig)
