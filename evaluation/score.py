"""Command: score predictions per patient on the native grid, or a run on its records as the glioma paper does."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common import cli
from common.errors import UserError, expect_number
from common.files import make_folder, read_lines, refuse_inside
from common.parallel import check_workers
from data_prep.sources import SourceConfig, open_source
from evaluation.heads import evaluators_of
from evaluation.heads.base import RecordsScoring
from evaluation.inference.predictions import MANIFEST, open_predictions
from evaluation.inference.provenance import predicted_by, run_state, training_warning
from evaluation.scores.folder import SCORES, write_patient_scores
from evaluation.scores.patients import score_predictions, summarise_scores
from evaluation.tables.patients import format_table
from training.run import Run

FORMS = ({"predictions", "source"}, {"run", "records"})


@dataclass(kw_only=True)
class ScoreConfig(SourceConfig):
    """Score predictions against annotations.

    Two forms, of which exactly one is given. `--predictions P --source DIR`: every metric, e.g. Dice and HD95, per patient,
    class and region, over whole volumes on the patients' own grid. `--run RUN --records R`: the table of the glioma paper
    (loss, accuracy, and the metrics with a direction per class and region) over the slices of a subset of records.
    """

    predictions: Path | None = None
    """Folder of predictions, as evaluation.predict writes it."""
    source: Path | None = None
    """The scans and annotations that the predictions belong to."""
    cases: Path | None = None
    """Text file with the ids of the cases to score, one a line; default: all that the predictions' manifest names."""
    run: Path | None = None
    """Run folder whose model is scored on records."""
    records: Path | None = None
    """Records, as data_prep.make_records writes them."""
    subset: Literal["train", "validation", "test"] = "test"
    """Which of the records' cases are scored."""
    batch_size: int = 16
    """Slices in a batch; it changes speed and memory, not the scores."""
    workers: int | str = 1
    """Processes that score predictions, or a Dask scheduler's address or file."""
    out: Path | None = None
    """Folder to write into; default: P/scores, or RUN/scores_SUBSET."""


def main(config: ScoreConfig) -> None:
    """Score predictions, or a run on records; prints the table and the files written."""
    expect_number("batch_size", config.batch_size, 1)
    check_workers(config.workers)
    given = {name for name in ("predictions", "source", "run", "records") if getattr(config, name) is not None}
    if given not in FORMS:
        received = ", ".join(f"--{name}" for name in sorted(given)) or "none of them"
        raise UserError(f"expected either --predictions P --source DIR or --run RUN --records R; received {received}")
    if config.predictions is not None and config.source is not None:
        _score_predictions(config, config.predictions, config.source)
    elif config.run is not None and config.records is not None:
        _score_records(config, config.run, config.records)


def _score_predictions(config: ScoreConfig, folder: Path, root: Path) -> None:
    _check_out(config.out, root)
    wanted = (
        None
        if config.cases is None
        else list(dict.fromkeys(read_lines(config.cases, "list of cases (a text file, one id a line)")))
    )
    predictions = open_predictions(folder, wanted)
    if not predictions.cases:
        raise UserError(f"{config.cases or folder / MANIFEST}: names no case; there is nothing to score")
    source = open_source(root, config, predictions.schema)
    scores, schema = score_predictions(predictions, source, config.workers)
    summaries = summarise_scores(scores)
    facts = {
        "runs": predictions.runs,
        "states": list(predictions.states),
        "training": list(predictions.training),
        "split": predictions.split,
        "cases": predictions.cases,
        "cases_in_source": len(source.cases()),
    }
    table = format_table(scores, summaries)
    out = config.out or folder / SCORES
    files = write_patient_scores(out, scores, schema, summaries, table, cli.as_dict(config), facts)
    if predictions.split == "slice":
        print("slice split: slices of these patients may have trained the run, so the scores are too good")
    if warning := training_warning(predictions.training, predictions.cases):
        print(warning, file=sys.stderr)
    _report(table, files, predictions.runs, predictions.states)


def _score_records(config: ScoreConfig, path: Path, records: Path) -> None:
    """Score every head of a run on records."""
    _check_out(config.out, records)
    run = Run(path)
    evaluators = evaluators_of([run])
    for evaluator in evaluators:
        folder = config.out or path / f"scores_{config.subset}"
        out = folder if len(evaluators) == 1 else folder / evaluator.name
        evaluator.score_records(RecordsScoring(records, config.subset, config.batch_size, out, cli.as_dict(config)))
    print(predicted_by([str(path)], [run_state(run)]))


def _check_out(out: Path | None, source: Path) -> None:
    """Refuse a place that cannot be written to before work starts."""
    if out is not None:
        refuse_inside(out, source)
        make_folder(out)


def _report(table: str, files: list[Path], runs: Sequence[str], states: Sequence[str]) -> None:
    print(table)
    if runs:
        print(predicted_by(runs, states))
    print("\n" + "\n".join(f"wrote {file}" for file in files))


if __name__ == "__main__":
    cli.run(main, ScoreConfig)
