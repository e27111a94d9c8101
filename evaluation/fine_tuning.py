"""Command: table of runs before and after their last phase: loss, Dice, accuracy, AUC; and a figure of three slices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError, expect_number
from common.files import make_folder, refuse_inside
from data_prep.records.folder import Records
from evaluation.figures import style
from evaluation.figures.fine_tuning import draw_fine_tuning
from evaluation.inference.provenance import run_state
from evaluation.outputs import claim, folder_origin, records_origin
from evaluation.scores import records as records_score
from evaluation.scores.classification_run import score_run
from evaluation.tables.fine_tuning import RunScores, classification_scores, format_text, segmentation_scores, write_table
from training.data.batches import CLASSIFICATION, SEGMENTATION
from training.run import Run

OPTIONS = {"--run": (SEGMENTATION, "train"), "--classifier": (CLASSIFICATION, "classify")}
"""Option -> head of its runs, and the command that trains them."""


@dataclass(kw_only=True)
class FineTuningConfig(ConfigWithTrust):
    """Compare runs before and after their last phase.

    Scores the weights that the last phase began with and those to predict with on the same slices. Prints the table and writes
    it as table.md, .tex and .csv; of a segmentation also draws three slices with the predictions of both (before_after).
    """

    run: Path | None = None
    """Run of glioskull train with several phases."""
    classifier: Path | None = None
    """Run of glioskull classify with several phases."""
    records: Path
    """Records with the channels that the runs were trained on."""
    subset: Literal["train", "validation", "test"] = "validation"
    """Which of the records' cases are scored."""
    batch_size: int = 16
    """Slices in a batch; it changes speed and memory, not the scores."""
    ids: bool = True
    """Name the patients in the figure."""
    out: Path | None = None
    """Folder to write into; default: fine_tuning_SUBSET in the first of the runs. Tables of other runs or records that it
    holds are not overwritten."""


def main(config: FineTuningConfig) -> None:
    """Score the runs with both weights, print the table and write it, and draw the figure."""
    expect_number("batch_size", config.batch_size, 1)
    _check_run(config.run, "--run")
    _check_run(config.classifier, "--classifier")
    first = config.run or config.classifier
    if first is None:
        raise UserError("nothing to compare: give --run SEGMENTATION or --classifier CLASSIFIER, or both")
    out = config.out or first / f"fine_tuning_{config.subset}"
    refuse_inside(out, config.records)
    make_folder(out)
    runs = [folder_origin("run", path, out) for path in (config.run, config.classifier) if path is not None]
    claim(out, {"fine_tuning": [*runs, records_origin(Records(config.records))]})
    parts, files = [], []
    if config.run is not None:
        part, drawn = _segmentation(config, config.run, out)
        parts.append(part)
        files += drawn
    if config.classifier is not None:
        parts.append(_classification(config, config.classifier))
    print(format_text(parts))
    print("\n" + "\n".join(f"wrote {file}" for file in [*write_table(out, parts), *files]))


def _check_run(path: Path | None, option: str) -> None:
    """Refuse a run without the head of an option, or one of a single phase."""
    if path is None:
        return
    run, (head, command) = Run(path), OPTIONS[option]
    if head not in run.heads:
        other = next(name for name in OPTIONS if name != option)
        received = f"received one of {cli.command_name(run.command)}; give it as {other}"
        raise UserError(f"{option} {path}: expected a run of glioskull {command}; {received}")
    if run.weights_before_last_phase is not None:
        return
    if len(run.config.phases) > 1:
        raise UserError(
            f"{path}: its last phase has not begun ({run_state(run)}; {len(run.config.phases)} phases), so there is no after; "
            f"go on with glioskull {command} --resume {path}, by a larger --max_minutes where it has one"
        )
    raise UserError(f"{path}: was trained in one phase, so there is no before and after; train with two --phases")


def _segmentation(config: FineTuningConfig, path: Path, out: Path) -> tuple[RunScores, list[Path]]:
    """Scores of a segmentation, and the figure of three of its slices."""
    subset = records_score.open_subset(path, config.records, config.subset, config.batch_size)
    networks = [records_score.load(subset.run, weights) for weights in (subset.run.weights_before_last_phase, None)]
    before, after = (records_score.count(subset, network) for network in networks)
    with style.ids(config.ids):
        files = draw_fine_tuning(out / "before_after", subset, networks, (before, after))
    return segmentation_scores(subset.run, before, after, len(subset.source), _subset_name(config)), files


def _classification(config: FineTuningConfig, path: Path) -> RunScores:
    """Scores of a classifier."""
    run = Run(path)
    before, after = (
        score_run(path, config.records, config.subset, config.batch_size, weights)
        for weights in (run.weights_before_last_phase, None)
    )
    return classification_scores(run, before, after, _subset_name(config))


def _subset_name(config: FineTuningConfig) -> str:
    return f"{config.subset} of {config.records.resolve().name}"


if __name__ == "__main__":
    cli.run(main, FineTuningConfig)
