"""Command: draw learning curves, scores, class frequencies, and the figures of one scan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError
from common.files import make_folder
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, prepare
from data_prep.records.folder import Records
from data_prep.scans.case import CaseFiles
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.structures import scored_structures
from evaluation.figures import overlay, style
from evaluation.figures import runs as figures_runs
from evaluation.figures import scores as figures_scores
from evaluation.figures import training as figures_training
from evaluation.figures import volume as figures_volume
from evaluation.figures.lesions import draw_lesions
from evaluation.heads import evaluators_of
from evaluation.heads.curves import curves_of_heads
from evaluation.inference.predictions import open_predictions, predicted_cases
from evaluation.inference.scans import Scan, read_scan
from evaluation.outputs import Origin, claim, folder_origin, records_origin
from evaluation.scores.folder import read_scores
from evaluation.scores.lesion_table import read_lesions
from evaluation.tables.run_names import names_of
from training.run import Run, open_runs


@dataclass(kw_only=True)
class PlotsConfig(SourceConfig, ConfigWithTrust):
    """Draw figures, each as PDF and PNG, with the numbers that are drawn as CSV beside them.

    From `--runs`: learning curves of training and validation (loss; IoU and Dice per class and mean, or accuracy and AUC of
    classifiers). From `--scores`: every metric, per structure and model, and lesions by volume where they were scored by a
    rule. From `--records`: class frequencies. From `--runs` and `--records`: augmented training slices, and Grad-CAM heat maps
    of validation slices for classifiers. From `--source`: the mosaic of a case's slices and its uncropped against its cropped
    volume; with `--predictions` also image, truth and prediction side by side, a column for each of several folders.
    """

    runs: list[Path] = field(default_factory=list)
    """Run folders, of one kind, or the folder of a cross-validation for all of its folds; their learning curves are drawn in
    one figure."""
    scores: list[Path] = field(default_factory=list)
    """Folders of scores, of runs on records or of predictions, as glioskull score writes them, to be drawn in one figure."""
    names: list[str] | None = None
    """Display names of several runs, scores or predictions, in their order; default: those of their folders."""
    records: Path | None = None
    """Records, as glioskull make_records writes them."""
    source: Path | None = None
    """Scans and annotations."""
    case: str | None = None
    """Case of the source that is drawn; default: the first annotated one that all predictions have."""
    channel: str | None = None
    """Channel that is drawn; default: the first."""
    predictions: list[Path] = field(default_factory=list)
    """Folders of predictions that have one of the case; of several, one slice of the case is drawn side by side."""
    ids: bool = True
    """Write ids of patients and cases into titles and names of files."""
    out: Path
    """Folder to write the figures into; those of other runs, scores or records that it holds are not overwritten."""


def main(config: PlotsConfig) -> None:
    """Draw all figures that the options allow; prints the files and what was left out."""
    with style.ids(config.ids):
        _draw(config)


def _draw(config: PlotsConfig) -> None:
    if not (config.runs or config.scores or config.records or config.source):
        raise UserError("nothing to draw: give at least one of --runs, --scores, --records, --source")
    if config.source is None and (config.case or config.channel or config.predictions):
        raise UserError("--case, --channel and --predictions belong to a scan: give --source as well")
    runs = open_runs(config.runs) if config.runs else []
    names = _names(config, "runs", [run.path for run in runs])
    score_names = _names(config, "scores", config.scores)
    prediction_names = _names(config, "predictions", config.predictions)
    records = Records(config.records) if config.records else None
    if records is not None:
        for run in runs:
            _ = run.config  # a network that is not trusted is refused before anything is drawn
    preparation, scan = None, None
    if config.source is not None:
        preparation = runs[0].preparation if runs else records.preparation if records is not None else None
        schema = runs[0].schema if runs else records.schema if records is not None else None
        scan = _read_scan(config, open_source(config.source, config, schema), preparation or PrepareConfig())
    make_folder(config.out)
    claim(config.out, _origins(config, runs, records))
    if runs:
        _print(_draw_learning_curves(runs, names, config.out))
    if config.scores:
        for files in _draw_scores(config.scores, score_names, config.out):
            _print(files)
    if records is not None:
        _print(_draw_class_frequencies(records, config.out))
        _print(_draw_runs_on_records(runs, records.path, config.out))
    if config.source is not None and scan is not None:
        made_from = [folder_origin("source", config.source, config.out)]
        predictions = [folder_origin("predictions", folder, config.out) for folder in config.predictions]
        claim(config.out, {f"case {scan.id}": made_from} | ({f"predictions of {scan.id}": predictions} if predictions else {}))
        _print(_draw_volume(scan, config.out, preparation))
        _print(_draw_predictions(scan, config.out, prediction_names))


def _origins(config: PlotsConfig, runs: list[Run], records: Records | None) -> dict[str, list[Origin]]:
    """Origins of the figures that do not have the name of a case in theirs."""
    of_runs = [folder_origin("run", run.path, config.out) for run in runs]
    of_records = [] if records is None else [records_origin(records)]
    found = {
        "learning curves": of_runs,
        "scores": [folder_origin("scores", folder, config.out) for folder in config.scores],
        "class frequencies": of_records,
        "figures of runs on records": [*of_runs, *of_records] if of_runs and of_records else [],
    }
    return {name: origins for name, origins in found.items() if origins}


def _names(config: PlotsConfig, option: str, folders: Sequence[Path]) -> list[str]:
    """Display names of an option's folders; a single run or prediction has the name of its folder."""
    if not folders:
        return []
    return names_of(option, folders, config.names if len(folders) > 1 or option == "scores" else None)


def _print(files: list[Path]) -> None:
    for file in files:
        print(f"wrote {file}")


def _draw_learning_curves(runs: list[Run], names: list[str], out: Path) -> list[Path]:
    """Loss and scores over epochs, a set of figures for each head that all runs have."""
    drawn: list[Path] = []
    for figure in curves_of_heads(dict(zip(names, runs, strict=True))):
        drawn += figures_runs.draw_learning_curves(out / figure.name, figure.histories, figure.curves)
    return drawn


def _draw_scores(folders: list[Path], names: list[str], out: Path) -> Iterator[list[Path]]:
    """Files of one figure after the other: every metric, then the lesions of each folder and rule."""
    for metric in figures_scores.scored_metrics(folders):
        models = [figures_scores.read_model(folder, name, metric) for folder, name in zip(folders, names, strict=True)]
        yield figures_scores.draw_scores(out / f"class_scores_{metric.name}", models, metric)
    for folder, name in zip(folders, names, strict=True):
        stored = read_scores(folder)
        suffix = f"_{name}" if len(folders) > 1 else ""
        lesions = read_lesions(stored.folder)
        for rule in dict.fromkeys(lesion.rule for lesion in lesions):
            mine = [lesion for lesion in lesions if lesion.rule == rule]
            path = out / f"lesions_{rule}{suffix}"
            yield draw_lesions(path, mine, scored_structures(stored.schema), stored.patients)


def _draw_class_frequencies(records: Records, out: Path) -> list[Path]:
    counts = sum(case.voxels.sum(axis=0) for case in records.cases.values())
    voxels = {name: int(count) for name, count in zip(records.schema.class_names, counts, strict=True)}
    return figures_runs.draw_class_frequencies(out / "class_frequencies", voxels, len(records.cases))


def _draw_runs_on_records(runs: list[Run], path: Path, out: Path) -> list[Path]:
    """On-line augmentation of each run, and the figures of its heads; file names end with the run where there are several."""
    stored, drawn = Records(path), []
    for run in runs:
        suffix = f"_{run.path.resolve().name}" if len(runs) > 1 else ""
        if not set(run.channels) <= set(stored.channels):
            print(f"{run.path}: trained on channels {run.channels}, not those of {path}; figures of both are left out")
            continue
        records = run.open_records(path)
        if figures_training.has_augmentation(run):
            drawn += figures_training.draw_run_augmentation(out / f"augmentation{suffix}", run, records)
        for evaluator in evaluators_of([run]):
            drawn += evaluator.draw_run(records, out, suffix)
    return drawn


def _draw_volume(scan: Scan, out: Path, preparation: PrepareConfig | None) -> list[Path]:
    """Mosaic of all slices, and the uncropped against the cropped volume where the preparation is known."""
    title, spacing = style.named(scan.title, scan.channel), scan.geometry.spacing_mm
    path = out / f"mosaic{style.named(f'_{scan.id}')}"
    drawn = figures_volume.draw_mosaic(path, scan.image, scan.classes, scan.schema, title, spacing)
    if scan.classes is None or preparation is None:
        why = "has no annotation" if scan.classes is None else "its crop is that of --records or --runs, which are not given"
        print(f"{scan.id}: {why}; its uncropped against its cropped volume is left out")
        return drawn
    path = out / f"crop{style.named(f'_{scan.id}')}"
    cropped = prepare(scan.case, None, preparation).geometry
    return drawn + figures_volume.draw_crop(path, scan.image, scan.classes, cropped, scan.schema, title)


def _draw_predictions(scan: Scan, out: Path, names: list[str]) -> list[Path]:
    """One prediction in three slices, or several predictions in one slice."""
    options = scan.schema, style.named(scan.title, scan.channel), scan.geometry.spacing_mm
    tag = style.named(f"_{scan.id}")
    if not names:
        return []
    if len(names) == 1:
        path = out / f"overlay{tag}.png"
        return [overlay.draw_overlay(path, scan.image, scan.classes, scan.predictions[0], *options)]
    predictions = dict(zip(names, scan.predictions, strict=True))
    return overlay.draw_models(out / f"models{tag}", scan.image, scan.classes, predictions, *options)


def _read_scan(config: PlotsConfig, source: Source, preparation: PrepareConfig) -> Scan:
    """The chosen channel of the chosen case, with annotation and predictions."""
    files = _chosen_case(source, config.case, config.predictions)
    return read_scan(source, files, config.channel, config.predictions, _schema(source, config.predictions), preparation)


def _chosen_case(source: Source, wanted: str | None, predictions: list[Path]) -> CaseFiles:
    """The chosen case; without a choice the first annotated one that all predictions have, as far as there is one."""
    cases = source.cases()
    if wanted is None:
        for predicted in filter(None, map(predicted_cases, predictions)):
            cases = [files for files in cases if files.id in predicted] or cases
        return next((files for files in cases if files.label is not None), cases[0])
    found = next((files for files in cases if files.id == wanted), None)
    if found is None:
        raise UserError(
            f"{source.root}: expected --case to be one of its {len(cases)} cases, such as {cases[0].id}; received {wanted}"
        )
    return found


def _schema(source: Source, predictions: list[Path]) -> LabelSchema:
    """The source's schema, or that of the first predictions where the layout implies none."""
    found = source.schema or (open_predictions(predictions[0], []).schema if predictions else None)
    return found or LabelSchema.load("binary")


if __name__ == "__main__":
    cli.run(main, PlotsConfig)
