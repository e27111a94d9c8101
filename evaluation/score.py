"""Command: score predictions per patient on the native grid, or a run on its records as the glioma paper does."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError, expect_number
from common.files import make_folder, read_lines, refuse_inside
from common.metrics.catalogue import chosen_metrics
from common.parallel import check_workers
from common.tables import TableFormat, counted
from data_prep.labels import LabelSchema
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.checks import warn_of_kinds
from evaluation.heads import evaluators_of
from evaluation.heads.base import RecordsScoring
from evaluation.inference.applied import applied_line
from evaluation.inference.predictions import MANIFEST, is_finished, match_files, open_predictions
from evaluation.inference.provenance import (
    find_training_records,
    predicted_by,
    print_training,
    run_state,
    unknown_training,
)
from evaluation.outputs import claim, folder_origin, records_origin
from evaluation.scores.folder import SCORES, write_pasted, write_patient_scores
from evaluation.scores.patients import Missing, score_predictions, summarise_scores
from evaluation.scores.trained import trained_facts
from evaluation.tables.channel_subsets import format_subsets
from evaluation.tables.lesions import format_lesions
from evaluation.tables.patients import format_table, paste_table
from training.data.division import subset_cases
from training.run import Run

FORMS = ({"predictions", "source"}, {"run", "records"})
CASES = "list of cases (a text file, one id a line)"


@dataclass(kw_only=True)
class ScoreConfig(SourceConfig, ConfigWithTrust):
    """Score predictions against annotations.

    Two forms, of which exactly one is given. `--predictions P --source DIR`: metrics, e.g. Dice and HD95, per patient, class
    and region, over whole volumes on the patients' own grid; P may be any folder of ID.nii.gz. `--run RUN --records R`: the
    table of the glioma paper (loss, accuracy, and the metrics with a direction per class and region) over the slices of a
    subset of records.
    """

    predictions: Path | None = None
    """Folder of predictions: of glioskull predict, or with a file ID.nii.gz per case, as nnU-Net writes it and challenges take
    it."""
    source: Path | None = None
    """The scans and annotations that the predictions belong to."""
    cases: Path | None = None
    """Text file with the ids of the cases to score, one a line; default: all that the predictions' manifest names, or, in a
    folder without one, all annotated cases that have a file there (with `--missing worst` those without a file too)."""
    metrics: list[str] = field(default_factory=list)
    """Metrics to compute besides the default ones: hd95_max_voxel, hd95_pooled, nsd, nsd_2mm, or a lesion metric of one rule
    such as lesion_dice@brats2023-met. With `--run` for segmentation heads on whole volumes alone."""
    lesions: list[str] = field(default_factory=list)
    """Lesion rules whose metrics are computed for the regions that they rank, such as brats2023-met or brats2026-mets
    (docs/metrics.md); of predictions per_lesion.csv is also written."""
    missing: Missing = "refuse"
    """Predictions that are absent, damaged or on another grid: refuse to score, or count the worst value of every metric that
    has one; volumes and numbers of lesions are then those of an empty prediction, and false lesions have no value."""
    prediction_labels: str | None = None
    """Label schema of the ids of predictions without predictions.json, where they are others than the annotations': a name in
    configs/labels or the path of a YAML file with the same classes; default: that of the source."""
    run: Path | None = None
    """Run folder whose model is scored on records."""
    records: Path | None = None
    """Records, as glioskull make_records writes them."""
    subset: Literal["train", "validation", "test"] = "test"
    """Which of the records' cases are scored."""
    batch_size: int = 16
    """Slices in a batch; it changes speed and memory, not the scores."""
    workers: int | str = 1
    """Processes that score predictions, or a Dask scheduler's address or file; a run is scored in one process."""
    format: TableFormat = "text"
    """Form of the printed table: text with notes, or a table to paste: markdown, latex (booktabs) or csv, which is also written
    beside the others."""
    out: Path | None = None
    """Folder to write into; default: P/scores, or RUN/scores_SUBSET, for other records than those of its training
    RUN/scores_SUBSET_RECORDS. Scores of something else that it holds are not overwritten."""


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
    metrics = chosen_metrics(config.metrics, config.lesions)
    wanted = None if config.cases is None else list(dict.fromkeys(read_lines(config.cases, CASES)))
    predictions = open_predictions(folder, wanted, plain=True)
    if config.prediction_labels is not None:
        if predictions.schema is not None:
            raise UserError(f"--prediction_labels: {folder / MANIFEST} names the predictions' schema; leave it out")
        predictions = replace(predictions, schema=LabelSchema.load(config.prediction_labels))
    source = open_source(root, config, None if config.prediction_labels else predictions.schema)
    warn_of_kinds(source.source_warnings(), "glioskull check")
    if wanted is None and not is_finished(folder):
        predictions = replace(predictions, cases=_cases_of_files(folder, source, config.missing))
    if not predictions.cases:
        raise UserError(f"{config.cases or folder / MANIFEST}: names no case; there is nothing to score")
    scores, schema = score_predictions(predictions, source, metrics, config.missing, config.workers)
    summaries = summarise_scores(scores)
    applied = predictions.postprocessing
    patients = {files.id: files.patient for files in source.cases() if files.id in predictions.cases}
    facts = {
        "runs": predictions.runs,
        "states": list(predictions.states),
        **trained_facts(list(predictions.training), patients, predictions.unknown),
        "split": predictions.split,
        "postprocessing": list(predictions.postprocessing),
        "cases": predictions.cases,
        "cases_in_source": len(source.cases()),
    }
    parts = (format_table(scores, summaries), format_subsets(scores), format_lesions(scores))
    table = "\n\n".join(filter(None, parts))
    out = config.out or folder / SCORES
    claim(out, {"scores": [folder_origin("predictions", folder, out)]})
    files = write_patient_scores(out, scores, schema, summaries, table, cli.as_dict(config), facts)
    if predictions.split == "slice":
        print("slice split: slices of these patients may have trained the run, so the scores are too good")
    print_training(predictions.training, patients, predictions.unknown)
    if config.format != "text":
        table = paste_table(scores, summaries, config.format)
        files.append(write_pasted(out, table, config.format))
    _report(table, files, predictions.runs, predictions.states, [applied_line(each, scores.patients) for each in applied])


def _cases_of_files(folder: Path, source: Source, missing: Missing) -> list[str]:
    """Annotated cases of a source that have a file in a folder without manifest; prints what is left out.

    Args:
        folder: of predictions.
        source: of the annotations.
        missing: with "worst" the annotated cases without a file are scored too.

    Raises:
        UserError: no file has the name of a case.
    """
    annotated = [files.id for files in source.cases() if files.label is not None]
    cases, others = match_files(folder, annotated)
    if not cases:
        example = f"{annotated[0]}.nii.gz" if annotated else "an annotated case"
        found = ", ".join(path.name for path in others[:3]) or "no NIfTI file"
        raise UserError(f"{folder}: expected files named like the cases of {source.root}, such as {example}; found {found}")
    if others:
        named = ", ".join(path.name for path in others[:3]) + (", ..." if len(others) > 3 else "")
        print(f"{folder}: {counted(len(others), 'file')} of no annotated case left out: {named}")
    if missing == "worst":
        return annotated
    if len(cases) < len(annotated):
        without = len(annotated) - len(cases)
        print(f"{folder}: {counted(without, 'annotated case')} without a file left out; --missing worst counts them")
    return cases


def _score_records(config: ScoreConfig, path: Path, records: Path) -> None:
    """Score every head of a run on records, of those on which it was trained the heads that they annotate."""
    defaults = {"cases": config.cases is None, "missing": config.missing == "refuse"}
    defaults["prediction_labels"] = config.prediction_labels is None
    for option, is_default in defaults.items():
        if not is_default:
            raise UserError(f"--{option}: expected with --predictions alone; received it with --run; leave it out")
    _check_out(config.out, records)
    metrics = chosen_metrics(config.metrics, config.lesions)
    run = Run(path)
    evaluators = evaluators_of([run])
    opened = run.open_records(records)
    annotated = run.heads_annotated_by(opened) if len(evaluators) > 1 else list(run.heads)
    scored = [evaluator for evaluator in evaluators if evaluator.name in annotated]
    if (config.metrics or config.lesions) and not any(evaluator.writes_voxels for evaluator in scored):
        option = "metrics" if config.metrics else "lesions"
        raise UserError(f"--{option}: expected a run with a segmentation head; received {path}, which has none; leave it out")
    for evaluator in scored:
        other = "" if run.trained_on(opened) else f"_{records.resolve().name}"
        folder = config.out or path / f"scores_{config.subset}{other}"
        out = folder if len(evaluators) == 1 else folder / evaluator.name
        claim(out, {"scores": [folder_origin("run", path, out), records_origin(opened)]})
        options = (config.subset, config.batch_size, out, cli.as_dict(config), metrics, config.format)
        evaluator.score_records(RecordsScoring(records, *options))
    print(predicted_by([str(path)], [run_state(run)]))
    if run.config.split == "slice":
        return  # the table says that scored patients trained the run, and how many
    cases = subset_cases(opened, run.config, config.subset)
    patients = {case: opened.cases[case].patient for case in cases}
    print_training(find_training_records(run, opened, cases), patients, unknown_training([run]))


def _check_out(out: Path | None, source: Path) -> None:
    """Refuse a place that cannot be written to before work starts."""
    if out is not None:
        refuse_inside(out, source)
        make_folder(out)


def _report(table: str, files: list[Path], runs: Sequence[str], states: Sequence[str], applied: Sequence[str]) -> None:
    print(table)
    print("\n".join(applied) if applied else "post-processing: not stored with these predictions")
    if runs:
        print(predicted_by(runs, states))
    print("\n" + "\n".join(f"wrote {file}" for file in files))


if __name__ == "__main__":
    cli.run(main, ScoreConfig)
