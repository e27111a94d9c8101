"""A sweep: trials of hyper-parameters, each an ordinary run, chosen by Optuna's TPE and stopped early by its median pruner.

Optuna's state is in STUDY/sweep.db. A trial that a call left unfinished is still in state RUNNING there, and its run folder
holds its exact state, so the next call resumes both. A draw is keyed by (seed, number of the trial): a sweep that was stopped
equals one that was not.
"""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common import cli
from common.errors import MissingPackage, UserError
from common.exit_status import USER_ERROR
from common.files import write_yaml
from common.manifests import CONTENT, MapOf, read_manifest
from common.tables import for_terminal
from data_prep.records.folder import Records
from evaluation.experiments.runner import last_error
from evaluation.experiments.runs import Epochs, HistoryRow, log_path, train_run, training_of
from evaluation.experiments.settings import Options, merged, option_words, training_config
from evaluation.experiments.space import SweepConfig, axes, draw
from evaluation.experiments.table import Column, write_table
from training.config import TrainConfig
from training.state.history import read_history

if TYPE_CHECKING:
    import optuna

DATABASE, SETTINGS = "sweep.db", "sweep.yaml"
STATES = {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "unfinished", "FAIL": "refused"}
"""Optuna's states -> words, in the order of the table."""


class Sweep:
    """Hyper-parameter search in a study's folder.

    Args:
        config: of the sweep.
        common: options of all trainings of the study.
        records: to train on.
        out: the study's folder.

    Raises:
        UserError: a space or options that cannot be searched.
    """

    def __init__(self, config: SweepConfig, common: Options, records: Records, out: Path) -> None:
        config.check(records)
        self._config = config
        self._axes = axes(config.space)
        self._common = common
        self._records = records
        self._out = out
        self._crashed: set[int] = set()
        self._base = training_config(config, common)
        if self._base.split == "patient" and not records.subset("validation", self._base.fold):
            raise UserError(f"{records.path}: has no validation cases, on which a sweep scores its trials")
        self._refuse_unknown_options()
        self._optuna = _load_optuna()

    def _refuse_unknown_options(self) -> None:
        """Refuse an option that no training has, or a value of the wrong type, before anything is trained."""
        for name, axis in self._axes.items():
            for value in axis if isinstance(axis, list) else (axis.low, axis.high):
                try:
                    training_config(self._config, self._common, {name: value})
                except UserError as error:
                    raise UserError(f"--sweep.space: {error}") from None

    def refuse_changes(self) -> None:
        """Refuse to go on with other settings than those that the trials were begun with.

        Raises:
            UserError: names the setting that changed.
        """
        file = self._out / SETTINGS
        if not file.is_file():
            return
        before = read_manifest(file, "settings of the sweep", MapOf(CONTENT), advice="choose another --out")
        now = self._settings()
        changed = [name for name in now if before.get(name) != now[name]]
        if changed:
            raise UserError(f"{self._out}: its sweep was begun with another {changed[0]}; choose another --out")

    def _settings(self) -> dict[str, Any]:
        """Settings that may not change; the number of trials may grow, and `train` holds every option."""
        settings = cli.as_dict(self._config) | {"train": cli.as_dict(self._base), "records": self._records.fingerprint}
        return {name: value for name, value in settings.items() if name not in ("trials", "options")}

    def run(self) -> list[str]:
        """Train all trials that are left, write the table and print the best.

        Returns:
            A line for each trial that crashed, which the next call resumes.
        """
        write_yaml(self._out / SETTINGS, self._settings())
        self._study = self._open()
        problems = []
        while (trial := self._next()) is not None:
            problem = self._train(trial)
            if problem is not None:
                print(f"  {problem}", flush=True)
                problems.append(f"trial {trial.number}: {problem}")
        return problems + self._report()

    def _open(self) -> "optuna.Study":
        """Optuna's study, with the trials so far."""
        config = self._config
        study: optuna.Study = self._optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{(self._out / DATABASE).resolve()}",
            direction=config.direction,
            pruner=self._optuna.pruners.MedianPruner(config.startup, config.warmup),
            load_if_exists=True,
        )
        return study

    def _trials(self) -> "list[optuna.trial.FrozenTrial]":
        return self._study.get_trials(deepcopy=False)

    def _next(self) -> "optuna.Trial | None":
        """A trial that an earlier call left unfinished, else a new one; None after the last one."""
        trials = self._trials()
        for frozen in trials:
            if frozen.state.name == "RUNNING" and frozen.number not in self._crashed:
                return self._optuna.trial.Trial(self._study, frozen._trial_id)  # the only way of Optuna to resume one
        if len(trials) >= self._config.trials:
            return None
        seed = np.random.SeedSequence([self._config.seed, len(trials)]).generate_state(1)[0]
        self._study.sampler = self._optuna.samplers.TPESampler(n_startup_trials=self._config.startup, seed=int(seed))
        return self._study.ask()

    def _train(self, trial: "optuna.Trial") -> str | None:
        """Train a trial, or the rest of it; returns the reason of a crash, if it crashed."""
        values = {name: draw(trial, name, axis) for name, axis in self._axes.items()}
        folder = self._folder(trial.number)
        shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in values.items()}
        settings = ", ".join(f"{name} {value}" for name, value in shown.items())
        print(f"trial {trial.number + 1} of {self._config.trials}{self._time_left()}: {settings}", flush=True)
        try:
            config = training_config(self._config, self._common, values)
            config.check()
        except UserError as error:
            self._refuse(trial, str(error))
            return None
        epochs = Epochs(folder, config, lambda row: self._should_prune(trial, config, row))
        status = train_run(training_of(folder, self._records.path), config, epochs)
        return self._end(trial, status, epochs.stopped)

    def _should_prune(self, trial: "optuna.Trial", config: TrainConfig, row: HistoryRow) -> bool:
        """Report an epoch, once; true where the pruner ends the trial. A training is not pruned after its last epoch."""
        epoch = int(row["epoch"])
        if epoch not in self._trials()[trial.number].intermediate_values:
            trial.report(row.get(self._config.metric, math.nan), epoch)
        return self._config.prune and epoch < config.total_epochs and trial.should_prune()

    def _end(self, trial: "optuna.Trial", status: int, stopped: bool) -> str | None:
        """Record and print the end of a trial; returns the reason of a crash, if it crashed."""
        log, score = log_path(self._folder(trial.number), ".log"), self._score(trial.number)
        if stopped:
            self._study.tell(trial, state=self._optuna.trial.TrialState.PRUNED)
            print(f"  pruned; glioskull train --resume {self._folder(trial.number)} would resume it", flush=True)
        elif status not in (0, USER_ERROR):
            self._crashed.add(trial.number)
            return f"its training ended with status {status} ({last_error(log)}); see {log}"
        elif status or score is None:
            self._refuse(trial, last_error(log) if status else f"no epoch has a {self._config.metric} that is a number")
        else:
            self._study.tell(trial, score)
        return None

    def _refuse(self, trial: "optuna.Trial", reason: str) -> None:
        """Leave out a trial whose settings cannot be trained with; it is not tried again."""
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        print(f"  refused: {reason}", flush=True)

    def _folder(self, number: int) -> Path:
        return self._out / "trials" / f"{number:05d}"

    def _score(self, number: int) -> float | None:
        """The best epoch's metric; None before there is one."""
        values = [value for value in self._trials()[number].intermediate_values.values() if math.isfinite(value)]
        best = max if self._config.direction == "maximize" else min
        return best(values) if values else None

    def _minutes(self, number: int) -> float | None:
        rows = read_history(self._folder(number))
        return rows[-1]["minutes"] if rows else None

    def _time_left(self) -> str:
        """Estimate of the minutes left, from the mean of the trials that have ended; empty before one has."""
        ended = [trial.number for trial in self._trials() if trial.state.is_finished()]
        minutes = [taken for taken in map(self._minutes, ended) if taken is not None]
        if not minutes:
            return ""
        return f", about {(self._config.trials - len(ended)) * sum(minutes) / len(minutes):.1f} min left"

    def _report(self) -> list[str]:
        """Write and print the table, and the best trial as a command; returns a problem where no trial was finished."""
        text = write_table(self._out / "trials", self._columns(), f"# {self._out.resolve().name}: trials", [self._note()])
        print(f"\n{for_terminal(text)}\ntables: {self._out / 'trials.csv'}, {self._out / 'trials.md'}")
        if not any(trial.state.name == "COMPLETE" for trial in self._trials()):
            return [f"{self._out}: no trial of the sweep was finished, so none is the best"]
        best = self._study.best_trial
        print(f"best: {self._folder(best.number)} ({self._config.metric} {best.value:.4f}); the same again:")
        print(f"  {self._command(best)}")
        return []

    def _note(self) -> str:
        """Note below the table."""
        return (
            f"Score: {self._config.metric} of the best epoch, {self._config.direction}d. Trials and epochs were chosen on the "
            "validation cases, so it is optimistic; score the best run, once, on test cases."
        )

    def _columns(self) -> list[Column]:
        """A row per trial: finished ones from the best to the worst, then those that were pruned, then the rest."""
        sign = -1 if self._config.direction == "maximize" else 1
        scores = {trial.number: self._score(trial.number) for trial in self._trials()}

        def place(trial: "optuna.trial.FrozenTrial") -> tuple[int, float]:
            score = scores[trial.number]
            return list(STATES).index(trial.state.name), math.inf if score is None else sign * score

        trials = sorted(self._trials(), key=place)
        finished = sum(trial.state.name == "COMPLETE" for trial in trials)
        return [
            Column("rank", "d", [place + 1 if place < finished else None for place in range(len(trials))]),
            Column("trial", "", [f"{trial.number:05d}" for trial in trials]),
            Column("state", "", [STATES[trial.state.name] for trial in trials]),
            Column("score", ".4f", [scores[trial.number] for trial in trials]),
            Column("epochs", "d", [trial.last_step for trial in trials]),
            Column("minutes", ".1f", [self._minutes(trial.number) for trial in trials]),
            *(Column(name, ".4g", [trial.params.get(name) for trial in trials]) for name in self._axes),
        ]

    def _command(self, trial: "optuna.trial.FrozenTrial") -> str:
        """The command line that trains a trial's settings."""
        config, options = self._config, merged(merged(self._common, self._config.options), trial.params)
        file, words = (
            (config.train, option_words(options))
            if isinstance(config.train, Path)
            else (log_path(self._folder(trial.number), ".yaml"), [])
        )
        given = ["--config", str(file), *words, "--records", str(self._records.path), "--out", str(self._out / "best")]
        return shlex.join(["glioskull", "train", *given])


def _load_optuna() -> Any:
    """Optuna, with warnings alone in its log.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise MissingPackage("optuna", "a sweep") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
