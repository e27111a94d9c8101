"""Figures of held-out tests: a box of patients per run, and learning curves of the runs that were tested."""

from collections.abc import Sequence
from pathlib import Path

from common.metrics.catalogue import METRICS
from evaluation.experiments.held_out import OpenTest
from evaluation.experiments.held_out_table import HeldOutScores
from evaluation.experiments.plan import PlannedRun
from evaluation.figures.patients import draw_boxes
from evaluation.figures.runs import Axis, Curves, draw_learning_curves, load_history, mean_history
from evaluation.tables.comparison import title
from training.run_facts import NAME, read_run_facts
from training.state.history import read_history

PANELS = {"loss": "Loss", "mean_dice": "Mean Dice (background included)"}


def draw_scores(folder: Path, scores: HeldOutScores, ids: bool = True) -> list[Path]:
    """Draw a box per run for each structure of a test, a patient's score being the mean over the seeds.

    Args:
        folder: for the figures.
        scores: of the test.
        ids: name the worst patients.

    Returns:
        The files written.
    """
    files: list[Path] = []
    for key in scores.keys:
        boxes = {_label(run): entry.values[key] for run, entry in scores.runs.items()}
        path = folder / f"boxes_{scores.test.name}_{key[1].replace(' ', '_')}_{key[2]}"
        files += draw_boxes(path, boxes, METRICS[key[2]], f"{title(key)}, {scores.test.name}", names=ids)
    return files


def draw_curves(folder: Path, planned: Sequence[PlannedRun], test: OpenTest) -> list[Path]:
    """Draw loss and mean Dice with background of all runs that train on the records of a test, each the mean over seeds.

    They are drawn over epochs or, where trainings end by the clock or their epochs differ in length, over minutes. A run of
    several heads has the curves of that of the test. A run of one head on several records is left out, and named: its scores
    are of all of them.

    Returns:
        The files written; none where no run has finished an epoch.
    """
    by_run: dict[str, list[Path]] = {}
    joint: dict[str, None] = {}  # names, in order
    heads = {run.name: list(run.config.heads) for run in planned}
    for run in planned:
        of_test = run.records == (test.name,) or test.name in heads[run.name]
        if test.name in run.records and not of_test:
            joint[run.name] = None
        if of_test and (run.folder / "run.json").is_file() and read_history(run.folder):
            by_run.setdefault(run.name, []).append(run.folder)
    if not by_run:
        return []
    facts = [read_run_facts(folder / NAME) for folders in by_run.values() for folder in folders]
    lengths = {each.get("steps_per_epoch") for each in facts}
    is_timed = any(run.config.max_minutes for run in planned) or len(lengths) > 1
    axis: Axis = "minutes" if is_timed else "epoch"
    histories = [
        mean_history(name, [load_history(folder, name).of_head(test.name, heads[name]) for folder in folders], axis)
        for name, folders in by_run.items()
    ]
    seeds = max(map(len, by_run.values()))
    mean = f"; mean over {seeds} seeds" if seeds > 1 else ""
    without = f"\nwithout {', '.join(joint)}, whose scores are of all records together" if joint else ""
    curves = Curves(f"mean Dice with background, {test.name}{mean}{without}", PANELS, axis)
    return draw_learning_curves(folder / f"learning_curves_{test.name}", histories, curves)


def _label(run: str) -> str:
    """Name of a run that can be folded below its box."""
    return run.replace("_", " ")
