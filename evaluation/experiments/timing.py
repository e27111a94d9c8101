"""Time that the trainings of a study will take, estimated from some steps of its first run before they begin."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from common import cli
from common.files import write_yaml
from common.tables import counted
from evaluation.experiments import runner
from evaluation.experiments.plan import PlannedRun
from evaluation.experiments.settings import Options
from training.run import Run
from training.state.history import read_history

STEPS = 10  # of each of two epochs, of which the second one is timed: the first one compiles


def estimated_time(study: Path, planned: Sequence[PlannedRun]) -> str:
    """Line that says how long the trainings that are left will take; a short training of the first of them is timed for it.

    Steps of all runs are taken to cost as much as those of that one. Validations, predictions and scores are not counted.

    Args:
        study: folder of the study; the short training is in `logs/timing` and is removed again.
        planned: all runs.
    """
    left = [run for run in planned if not _is_finished(run)]
    if not left:
        return f"{counted(len(planned), 'training')}: all finished"
    per_epoch = [run.config.epoch_steps for run in left]
    epochs = [run.config.total_epochs - len(read_history(run.folder)) for run in left]
    known = [each * number for each, number in zip(per_epoch, epochs, strict=True) if each is not None]
    what = f"{counted(len(left), 'training')} of {len(planned)} left"
    seconds = _seconds_per_step(study, left[0]) if known else None
    if seconds is None:
        return f"{what}; their time is not known before the first one"
    others = len(left) - len(known)
    unknown = f", and {counted(others, 'training')} without --steps_per_epoch" if others else ""
    return (
        f"{what}: {sum(known)} steps{unknown}; about {sum(known) * seconds / 60:.0f} min by {seconds:.2f} s a step of "
        f"{left[0].folder.name}, validation and tests not counted"
    )


def _is_finished(run: PlannedRun) -> bool:
    """True for a run that has nothing left to train."""
    return (run.folder / "run.json").is_file() and Run(run.folder).metadata.get("status") == "finished"


def _seconds_per_step(study: Path, run: PlannedRun) -> float | None:
    """Seconds of a step of a run's network on its data; None where the short training fails."""
    folder, file = study / "logs" / "timing", study / "logs" / "timing.yaml"
    short: Options = {
        "epochs": 2,
        "steps": None,
        "validate_every": None,
        "steps_per_epoch": STEPS,
        "phases": [],
        "init_from": None,
    }
    write_yaml(file, cli.as_dict(run.config) | short | {"validate": False, "max_minutes": None, "patience": None})
    shutil.rmtree(folder, ignore_errors=True)
    words = ["--config", file, *run.training.arguments[2:], "--out", folder]
    status = runner.call("training.train", words, file.with_suffix(".log"))
    rows = [] if status else read_history(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return None if len(rows) < 2 else (rows[1]["minutes"] - rows[0]["minutes"]) * 60 / STEPS
